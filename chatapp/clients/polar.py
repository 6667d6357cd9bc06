"""Polar: customers, usage events, checkouts, the portal, subscriptions, quantities, and verifying its webhooks.

The SDK's client behind our types and our two errors. One instance serves the whole process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import polar.webhooks
from polar.v2026_10 import PolarAsync
from polar.v2026_10.outputs import Subscription

from chatapp.clients.errors import Rejected
from chatapp.clients.polar_catalog import PolarCatalog
from chatapp.clients.polar_types import (
    NOT_FOUND,
    UNPROCESSABLE,
    EmailTaken,
    PolarCheckout,
    PolarCustomerState,
    PolarEvent,
    PolarSubscription,
    moment,
    optional_moment,
    our_errors,
)
from chatapp.settings import Vendor

TIMEOUT_SECONDS = 15.0
LONGEST_RANGE = timedelta(days=365)
"""Between the first and the last day that one question for a quantity may name."""


class BadSignature(Exception):
    """A webhook was not signed by Polar, or was signed too long ago."""


class Polar:
    """Polar's API as the app uses it.

    Every method raises `Unavailable` where a later attempt may succeed and `Rejected` where it will not.

    Attributes:
        catalog: the part of the API that sets up meters, products and webhooks.
    """

    def __init__(self, vendor: Vendor, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._sdk = PolarAsync(vendor.key, base_url=vendor.url, timeout=timeout_seconds)
        self.catalog = PolarCatalog(self._sdk)

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.__aexit__()

    async def ingest(self, events: Sequence[PolarEvent]) -> tuple[int, int]:
        """Send usage events; return how many were new and how many Polar had already.

        One bad event makes Polar refuse all of them: `Rejected` with status 422.
        """
        with our_errors("ingest"):
            answer = await self._sdk.events.ingest(events=cast(Any, [event.as_json() for event in events]))
        return answer.inserted, answer.duplicates

    async def ensure_customer(self, external_id: str, email: str) -> str:
        """Polar's id of the customer with our id, made now if there is none.

        A customer with this e-mail and without an external id, made in Polar's dashboard or by a payment link, is
        adopted: the address was verified at sign-up.

        Raises:
            EmailTaken: the address is another external customer's.
        """
        known = await self._customer_id(external_id)
        if known is not None:
            return known
        try:
            with our_errors("create customer"):
                created = await self._sdk.customers.create(external_id=external_id, email=email)
            return created.id
        except Rejected as refusal:
            if refusal.status != UNPROCESSABLE:
                raise
            return await self._customer_id(external_id) or await self._adopt(external_id, email, refusal)

    async def subscriptions_of(self, external_id: str) -> list[PolarSubscription]:
        """All subscriptions of a customer in every state, newest first; none for an unknown customer."""
        found = []
        with our_errors("list subscriptions"):
            async for subscription in self._sdk.subscriptions.iter_list(external_customer_id=external_id, limit=100):
                found.append(_subscription(subscription))
        return found

    async def customer_state(self, external_id: str) -> PolarCustomerState | None:
        """Polar's summary of a customer, which may be late; None for an unknown one."""
        try:
            with our_errors("customer state"):
                state = await self._sdk.customers.get_state_external(external_id)
        except Rejected as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise
        return PolarCustomerState(
            customer_id=state.id, active_product_ids=tuple(s.product_id for s in state.active_subscriptions),
            consumed_units={m.meter_id: Decimal(repr(m.consumed_units)) for m in state.active_meters},
        )

    async def create_checkout(
        self, *, product_id: str, external_id: str, email: str, success_url: str, return_url: str,
        metadata: Mapping[str, str],
    ) -> PolarCheckout:
        """A checkout of one product for a customer. Polar writes its id for `{CHECKOUT_ID}` in `success_url`."""
        with our_errors("create checkout"):
            made = await self._sdk.checkouts.create(
                products=[product_id], external_customer_id=external_id, customer_email=email,
                success_url=success_url, return_url=return_url, metadata=dict(metadata),
            )
        return PolarCheckout(made.id, made.url, made.status)

    async def get_checkout(self, checkout_id: str) -> PolarCheckout:
        """A checkout's present state."""
        with our_errors("get checkout"):
            found = await self._sdk.checkouts.get(checkout_id)
        return PolarCheckout(found.id, found.url, found.status)

    async def create_portal(self, external_id: str, return_url: str) -> str:
        """The address of a fresh session in Polar's customer portal; it signs in whoever opens it."""
        with our_errors("create customer session"):
            session = await self._sdk.customer_sessions.create(external_customer_id=external_id, return_url=return_url)
        return session.customer_portal_url

    async def switch_product(self, subscription_id: str, product_id: str, *, at_next_period: bool) -> None:
        """Move a subscription to another product: now, invoicing the difference, or when its period ends."""
        with our_errors("switch product"):
            await self._sdk.subscriptions.update(
                subscription_id, product_id=product_id,
                proration_behavior="next_period" if at_next_period else "invoice",
            )

    async def meter_quantity(
        self, meter_id: str, start: datetime, end: datetime, *, external_id: str | None = None
    ) -> Decimal:
        """The meter's sum over whole UTC days, from that of `start` to that of `end`, of one customer or of all.

        Polar adds up whole calendar intervals, whatever the two times are, and takes at most 366 days at once. It sums
        in floating point: 3 decimals hold.
        """
        first, last = (at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) for at in (start, end))
        total = Decimal(0)
        while first <= last:
            until = min(last, first + LONGEST_RANGE)
            with our_errors("meter quantities"):
                answer = await self._sdk.meters.quantities(
                    meter_id, start_timestamp=first.isoformat(), end_timestamp=until.isoformat(), interval="day",
                    external_customer_id=external_id,
                )
            total += Decimal(repr(answer.total)).quantize(Decimal("0.001"))
            first = until + timedelta(days=1)
        return total

    async def _customer_id(self, external_id: str) -> str | None:
        try:
            with our_errors("get customer"):
                return (await self._sdk.customers.get_external(external_id)).id
        except Rejected as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise

    async def _adopt(self, external_id: str, email: str, refusal: Rejected) -> str:
        with our_errors("find customer by e-mail"):
            found = (await self._sdk.customers.list(email=email)).items
        if not found:
            raise refusal
        if found[0].external_id is not None:
            raise EmailTaken(f"Polar: {email} belongs to the customer {found[0].id}.", status=UNPROCESSABLE)
        with our_errors("adopt customer"):
            await self._sdk.customers.update(found[0].id, external_id=external_id)
        return found[0].id


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Return if Polar signed this body within the last five minutes, by either form of the secret.

    Raises:
        BadSignature: anyone else may have sent it.
    """
    try:
        text = body.decode()
        polar.webhooks.validate_event(text, dict(headers), secret, frozenset(), lambda payload: payload)
    except UnicodeDecodeError as error:
        raise BadSignature("The body is not UTF-8, as Polar's are.") from error
    except polar.webhooks.PolarWebhookVerificationError as error:
        raise BadSignature(str(error)) from error
    except polar.webhooks.PolarWebhookError:
        # The signature holds and only then is the body looked at. What it says is judged when it is processed.
        return


def _subscription(found: Subscription) -> PolarSubscription:
    return PolarSubscription(
        id=found.id, customer_id=found.customer_id, product_id=found.product_id, status=found.status,
        current_period_start=moment(found.current_period_start),
        current_period_end=optional_moment(found.current_period_end),
        cancel_at_period_end=found.cancel_at_period_end, ends_at=optional_moment(found.ends_at),
        started_at=optional_moment(found.started_at),
    )
