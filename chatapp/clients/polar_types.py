"""What Polar's client takes and gives, its errors in our words, and one correction of the SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import httpx
import polar.v2026_10.outputs
from polar.base import PolarClientError, PolarError, PolarNetworkError, PolarRateLimitError, PolarServerError

from chatapp.clients.errors import Rejected, Unavailable

# polar-sdk 1.0.2 types the status of a customer state's subscription as a benefit's, so that reading a state fails
# as soon as a subscription is active. The name is resolved at the first load, which comes after this line.
polar.v2026_10.outputs.__dict__["Status"] = Literal["granted", "disabled", "revoked", "active", "trialing"]

NOT_FOUND = 404
UNPROCESSABLE = 422


class EmailTaken(Rejected):
    """The e-mail address belongs to another customer at Polar, whose external id is not ours to change."""


@dataclass(frozen=True)
class PolarEvent:
    """One usage event to ingest.

    Attributes:
        external_id: the idempotency key, unique in the whole organization.
        timestamp: when it happened; None lets Polar stamp its reception. Polar refuses the future.
        metadata: flat, and Polar's own `_cost` and `_llm`.
        numbers: further metadata that are sent as JSON numbers, exact to three decimals.
    """

    name: str
    external_id: str
    external_customer_id: str
    timestamp: datetime | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Decimal] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The event in the API's form."""
        event: dict[str, Any] = {
            "name": self.name, "external_id": self.external_id, "external_customer_id": self.external_customer_id,
            "metadata": {**self.metadata, **{key: _json_number(value) for key, value in self.numbers.items()}},
        }
        if self.timestamp is not None:
            event["timestamp"] = self.timestamp.isoformat()
        return event


@dataclass(frozen=True)
class PolarSubscription:
    """A subscription as Polar has it at this moment."""

    id: str
    customer_id: str
    product_id: str
    status: str
    current_period_start: datetime
    current_period_end: datetime | None
    cancel_at_period_end: bool
    ends_at: datetime | None
    started_at: datetime | None


@dataclass(frozen=True)
class PolarCustomerState:
    """Polar's cached summary of a customer: late by seconds to minutes, and no ground for a limit.

    Attributes:
        active_product_ids: of the active subscriptions; one that is past due is not among them.
        consumed_units: meter id → units in the current period.
    """

    customer_id: str
    active_product_ids: tuple[str, ...]
    consumed_units: Mapping[str, Decimal]


@dataclass(frozen=True)
class PolarCheckout:
    """A checkout session. `status` is Polar's: open, confirmed, succeeded, expired, failed."""

    id: str
    url: str
    status: str


@contextmanager
def our_errors(what: str) -> Iterator[None]:
    """Raise `Unavailable` or `Rejected` for whatever the SDK raises in the block."""
    try:
        yield
    except PolarRateLimitError as error:
        raise Unavailable(f"Polar: {what}: too many requests.", retry_after_seconds=error.retry_after) from error
    except PolarNetworkError as error:
        unsent = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        raise Unavailable(f"Polar: {what}: {error}", may_have_run=not unsent) from error
    except PolarServerError as error:
        raise Unavailable(f"Polar: {what}: {error}", may_have_run=True) from error
    except PolarClientError as error:
        raise Rejected(f"Polar: {what}: {error}", status=error.status_code) from error
    except (PolarError, ValueError) as error:
        # An answer that cannot be read: a proxy's error page, or a form that this SDK does not know.
        raise Unavailable(f"Polar: {what}: unreadable answer: {error}", may_have_run=True) from error


def moment(text: str) -> datetime:
    """Polar's timestamp as aware UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def optional_moment(text: str | None) -> datetime | None:
    """`moment` where Polar may say nothing."""
    return None if text is None else moment(text)


def _json_number(value: Decimal) -> int | float:
    """JSON has no decimals: an integer where it is one, else the float whose shortest text is this decimal."""
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError(f"{value} cannot be sent as a JSON number without changing it.")
    return number
