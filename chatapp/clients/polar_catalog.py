"""Polar's catalogue: meters, products and webhook endpoints, found again by a key in their metadata.

Polar has no idempotency key for these. The key in the metadata stands in for one: whoever is interrupted after the
creation finds the object at the next attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from polar.v2026_10 import PolarAsync

from chatapp.clients.polar_types import our_errors

KEY = "chatapp_key"
API_VERSION: Literal["2026-10"] = "2026-10"
EVENTS = (
    "customer.updated", "customer.deleted", "customer.state_changed",
    "subscription.created", "subscription.updated", "subscription.active", "subscription.canceled",
    "subscription.uncanceled", "subscription.cycled", "subscription.revoked", "subscription.past_due",
    "subscription.paused", "subscription.resumed",
    "order.created", "order.updated", "order.paid", "order.refunded", "refund.created", "refund.updated",
    "benefit_grant.created", "benefit_grant.cycled", "benefit_grant.updated", "benefit_grant.revoked",
    "checkout.updated",
)


class PolarCatalog:
    """What an operator sets up once, and a start of the app makes sure of."""

    def __init__(self, sdk: PolarAsync) -> None:
        self._sdk = sdk

    async def find_meter(self, key: str) -> str | None:
        """Polar's id of our meter with this key, the oldest if there are several."""
        with our_errors("list meters"):
            found = [meter async for meter in self._sdk.meters.iter_list(is_archived=False, limit=100)
                     if meter.metadata.get(KEY) == key]
        return min(found, key=lambda meter: meter.created_at).id if found else None

    async def create_sum_meter(
        self, key: str, *, name: str, event_name: str, property_name: str, label: str, multiplier: int
    ) -> str:
        """A meter that sums one property over the events of one name, shown in units of `multiplier`."""
        with our_errors("create meter"):
            made = await self._sdk.meters.create(
                name=name,
                filter={"conjunction": "and",
                        "clauses": [{"property": "name", "operator": "eq", "value": event_name}]},
                aggregation={"func": "sum", "property": property_name},
                unit="custom", custom_label=label, custom_multiplier=multiplier, metadata={KEY: key},
            )
        return made.id

    async def find_product(self, key: str) -> str | None:
        """Polar's id of our product with this key, the oldest if there are several."""
        with our_errors("list products"):
            found = [product async for product in self._sdk.products.iter_list(is_archived=False, limit=100)
                     if product.metadata.get(KEY) == key]
        return min(found, key=lambda product: product.created_at).id if found else None

    async def create_monthly_product(
        self, key: str, *, name: str, description: str, fixed_cents: int, meter_id: str | None = None,
        unit_amount_cents: str = "",
    ) -> str:
        """A monthly product with a fixed price, and with a metered one if there is a meter."""
        prices: list[dict[str, Any]] = [{"amount_type": "fixed", "price_amount": fixed_cents}]
        metered: dict[str, Any] = {}
        if meter_id is not None:
            prices.append({"amount_type": "metered_unit", "meter_id": meter_id, "unit_amount": unit_amount_cents})
            # Without a meter interval, which can never be added, a switch or a revocation drops unbilled usage.
            metered = {"meter_interval": "month"}
        with our_errors("create product"):
            made = await self._sdk.products.create(
                name=name, description=description, recurring_interval="month", prices=cast(Any, prices),
                metadata={KEY: key}, **cast(Any, metered),
            )
        return made.id

    async def webhook_urls(self) -> Sequence[str]:
        """The addresses that enabled endpoints deliver to."""
        with our_errors("list webhook endpoints"):
            answer = await self._sdk.webhooks.list_webhook_endpoints(limit=100)
        return [endpoint.url for endpoint in answer.items if endpoint.enabled]

    async def create_webhook(self, url: str) -> str:
        """An endpoint for everything that we act on; returns the secret that Polar chose for it."""
        with our_errors("create webhook endpoint"):
            made = await self._sdk.webhooks.create_webhook_endpoint(
                url=url, format="raw", events=cast(Any, list(EVENTS)), api_version=API_VERSION,
            )
        return made.secret
