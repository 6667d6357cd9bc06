"""Switching a subscription's product, with the four ways to account for the time that was paid already."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from emulators.polar import orders, products
from emulators.polar.context import Polar, moment, stamp
from emulators.polar.errors import invalid, named
from emulators.polar.periods import later
from emulators.polar.prices import fixed_cents, main_price
from emulators.polar.tables import Document, new_id

DROPPED = "dropped"


def switch(polar: Polar, subscription: Document, product_id: str, proration: str) -> Document:
    """Switch to another product. Returns the subscription.

    `invoice` charges the difference for the rest of the period at once, and refuses with 402 if it cannot be
    collected; `prorate` puts it on the next invoice; `reset` begins a new period now, at the full price;
    `next_period` keeps everything until the period ends. Except for the last, usage that was accrued is dropped,
    unless the product was made with a `meter_interval`.
    """
    product = polar.tables.get("product", product_id)
    if product is None or product["is_archived"]:
        raise invalid(("product_id",), "Product does not exist.", product_id)
    if not product["is_recurring"]:
        raise invalid(("product_id",), "Product is not a recurring product.", product_id)
    if product_id == subscription["product_id"]:
        return polar.touch({**subscription, "pending_update": None})
    if proration == "next_period":
        now = stamp(polar.now())
        return polar.touch({**subscription, "pending_update": {
            "created_at": now, "modified_at": None, "id": new_id(), "applies_at": subscription["current_period_end"],
            "product_id": product_id, "seats": None, "units": None}})
    return _switch_now(polar, subscription, product, proration)


def _switch_now(polar: Polar, subscription: Document, product: Document, proration: str) -> Document:
    old = polar.tables.need("product", subscription["product_id"])
    if old["meter_interval"] is None:
        drop_usage(polar, subscription)
    lines = _prorated(polar, subscription, product, whole=proration == "reset")
    changed = polar.touch({**subscription, **terms(polar, product), "pending_update": None})
    if proration == "reset":
        start = polar.now()
        changed = polar.touch({**changed, "current_period_start": stamp(start), "current_period_end": stamp(
            later(start, product["recurring_interval"], product["recurring_interval_count"]))})
    if proration == "prorate":
        return polar.touch({**changed, "_owed_lines": [*changed["_owed_lines"], *lines]})
    if not lines:
        return changed
    order = orders.create(polar, changed["customer_id"], product, changed["prices"], lines, "subscription_update",
                          subscription_id=changed["id"])
    if not order["paid"]:
        raise named(402, "PaymentFailed", "The payment failed. The subscription was not updated.")
    return changed


def terms(polar: Polar, product: Document) -> Document:
    """The fields of a subscription that its product decides."""
    from emulators.polar.subscriptions import own_meters  # it uses this module for its updates

    prices = products.current_prices(product)
    return {"product_id": product["id"], "prices": prices, "price_id": main_price(prices)["id"],
            "amount": fixed_cents(prices), "meters": own_meters(polar, prices),
            "recurring_interval": product["recurring_interval"],
            "recurring_interval_count": product["recurring_interval_count"]}


def _prorated(polar: Polar, subscription: Document, product: Document, *, whole: bool) -> list[Document]:
    """A credit for the unused time at the old fixed price, and a charge for it, or for a whole period, at the new."""
    start, end = moment(subscription["current_period_start"]), moment(subscription["current_period_end"])
    left = max(Decimal(0), Decimal(str((end - polar.now()) / (end - start))))
    old_prices, new_prices = subscription["prices"], products.current_prices(product)
    old_name = polar.tables.need("product", subscription["product_id"])["name"]
    credit = _rounded(fixed_cents(old_prices) * left)
    charge = fixed_cents(new_prices) if whole else _rounded(fixed_cents(new_prices) * left)
    lines = []
    if credit:
        lines.append(orders.item(polar, f"Remaining time on {old_name}", -credit, main_price(old_prices),
                                 proration=True))
    if charge:
        lines.append(orders.item(polar, product["name"], charge, main_price(new_prices), proration=not whole))
    return lines


def _rounded(cents: Decimal) -> int:
    return int(cents.quantize(Decimal(1), ROUND_HALF_UP))


def drop_usage(polar: Polar, subscription: Document) -> None:
    """Never bill what was assigned to the subscription and not billed yet."""
    polar.tables.write("UPDATE polar_event SET order_id = ? WHERE subscription_id = ? AND order_id IS NULL",
                       DROPPED, subscription["id"])
