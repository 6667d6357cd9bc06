"""Subscriptions: begun by a checkout or, if free, by the API; canceled, resumed, revoked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.routing import Route

from emulators.polar import benefits, customers, meters, outgoing, products, state, switching
from emulators.polar.context import Polar, stamp
from emulators.polar.errors import invalid, named
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.periods import later
from emulators.polar.prices import fixed_cents, is_free, main_price, metered
from emulators.polar.subscription_inputs import SubscriptionUpdate
from emulators.polar.tables import Document, new_id

BILLABLE = ("active", "trialing", "past_due")
FIRST = (
    "created_at", "modified_at", "id", "amount", "currency", "recurring_interval", "recurring_interval_count", "status",
    "current_period_start", "current_period_end", "current_meter_period_start", "current_meter_period_end",
    "trial_start", "trial_end", "cancel_at_period_end", "canceled_at", "started_at", "ends_at", "ended_at",
    "past_due_at", "pause_at_period_end", "paused_at", "resumes_at", "customer_id", "product_id", "discount_id",
    "checkout_id", "seats", "units", "customer_cancellation_reason", "customer_cancellation_comment", "price_id",
    "metadata", "custom_field_data")
NOTHING_YET = dict.fromkeys((
    "current_meter_period_start", "current_meter_period_end", "trial_start", "trial_end", "canceled_at", "ends_at",
    "ended_at", "past_due_at", "paused_at", "resumes_at", "discount_id", "seats", "units",
    "customer_cancellation_reason", "customer_cancellation_comment", "pending_update"))


class SubscriptionCreate(BaseModel):
    """A free subscription for an existing customer."""

    product_id: str
    customer_id: str | None = None
    external_customer_id: str | None = None
    metadata: dict[str, str | int | float | bool] = {}


def routes(api: Api) -> list[Route]:
    """The subscription endpoints."""
    return [
        api.route("GET", "/subscriptions/", listing),
        api.route("POST", "/subscriptions/", create, status=201),
        api.route("GET", "/subscriptions/{id}", lambda call: show(call.polar, call.document("subscription"))),
        api.route("PATCH", "/subscriptions/{id}", update),
        api.route("DELETE", "/subscriptions/{id}", _revoke),
    ]


def listing(call: Call) -> Document:
    """Subscriptions, the latest first."""
    polar = call.polar
    found = matching(polar.tables.find("subscription", newest_first=True), call, "customer_id", "product_id", "status",
                     "cancel_at_period_end")
    if externals := call.query.get("external_customer_id"):
        owners = {owner["id"] for each in externals if (owner := customers.with_external_id(polar, each))}
        found = [each for each in found if each["customer_id"] in owners]
    if (active := call.flag("active")) is not None:
        found = [each for each in found if (each["status"] in BILLABLE) == active]
    return page(call, found, lambda each: show(polar, each))


def create(call: Call) -> Document:
    """Subscribe a customer to a free product. What costs money needs a checkout."""
    polar, given = call.polar, call.read(SubscriptionCreate)
    product = polar.tables.get("product", given.product_id)
    if product is None:
        raise invalid(("product_id",), "Product does not exist.", given.product_id)
    if not product["is_recurring"]:
        raise invalid(("product_id",), "Product is not a recurring product.", given.product_id)
    if not is_free(products.current_prices(product)):
        raise invalid(("product_id",), "Product is not free. The customer should go through a checkout to create "
                      "a paid subscription.", given.product_id)
    by_external = given.external_customer_id is not None
    customer = customers.with_external_id(polar, given.external_customer_id or "") if by_external else (
        polar.tables.get("customer", given.customer_id))
    if customer is None:
        name = "external_customer_id" if by_external else "customer_id"
        raise invalid((name,), "Customer does not exist.", getattr(given, name))
    return show(polar, begin(polar, customer["id"], product, metadata=given.metadata))


def begin(polar: Polar, customer_id: str, product: Document, *, checkout_id: str | None = None,
          metadata: Document | None = None) -> Document:
    """Begin a subscription now, and tell so."""
    start = polar.now()
    prices = products.current_prices(product)
    subscription = polar.tables.add("subscription", {
        **polar.base(), **NOTHING_YET, "amount": fixed_cents(prices), "currency": "usd",
        "recurring_interval": product["recurring_interval"],
        "recurring_interval_count": product["recurring_interval_count"], "status": "active",
        "current_period_start": stamp(start), "started_at": stamp(start),
        "current_period_end": stamp(later(start, product["recurring_interval"], product["recurring_interval_count"])),
        "cancel_at_period_end": False, "pause_at_period_end": False, "customer_id": customer_id,
        "product_id": product["id"], "checkout_id": checkout_id, "price_id": main_price(prices)["id"],
        "metadata": metadata or {}, "custom_field_data": {}, "prices": prices, "meters": own_meters(polar, prices),
        "_owed_lines": []})
    for kind in ("subscription.created", "subscription.active", "subscription.updated"):
        outgoing.emit(polar, kind, show(polar, subscription))
    state.schedule(polar, customer_id)
    return subscription


def own_meters(polar: Polar, prices: list[Document]) -> list[Document]:
    """The meters that the prices are for, at zero."""
    return [{"created_at": stamp(polar.now()), "modified_at": None, "id": new_id(), "consumed_units": 0.0,
             "credited_units": 0, "amount": 0, "meter_id": price["meter_id"]} for price in metered(prices)]


def update(call: Call) -> Document:
    """Cancel at the period's end, take that back, revoke, or switch the product."""
    polar, subscription = call.polar, call.document("subscription")
    given = call.read(SubscriptionUpdate)
    if subscription["status"] not in BILLABLE:
        raise _already_canceled()
    if given.revoke:
        return show(polar, end(polar, subscription))
    if given.cancel_at_period_end is not None:
        reason = given.model_dump(include={"customer_cancellation_reason", "customer_cancellation_comment"})
        change = cancel(polar, subscription, reason) if given.cancel_at_period_end else resume(polar, subscription)
        return show(polar, change)
    if given.metadata is not None:
        subscription = polar.touch({**subscription, "metadata": given.metadata})
    if given.product_id is not None:
        subscription = switching.switch(polar, subscription, given.product_id, given.proration_behavior or "prorate")
    return show(polar, announce(polar, subscription))


def _already_canceled() -> Exception:
    return named(403, "AlreadyCanceledSubscription",
                 "This subscription is already canceled or will be at the end of the period.")


def announce(polar: Polar, subscription: Document, *kinds: str) -> Document:
    """Tell of a change, last of all as `subscription.updated`, and let the customer's state follow."""
    for kind in (*kinds, "subscription.updated"):
        outgoing.emit(polar, kind, show(polar, subscription))
    state.schedule(polar, subscription["customer_id"])
    return subscription


def cancel(polar: Polar, subscription: Document, reason: dict[str, Any]) -> Document:
    """Let it end with the period. Access stays until then."""
    if subscription["cancel_at_period_end"]:
        raise _already_canceled()
    changed = polar.touch({
        **subscription, **reason, "cancel_at_period_end": True, "canceled_at": stamp(polar.now()),
        "ends_at": subscription["current_period_end"]})
    return announce(polar, changed, "subscription.canceled")


def resume(polar: Polar, subscription: Document) -> Document:
    """Take back a cancellation before the period's end."""
    if not subscription["cancel_at_period_end"]:
        return subscription
    changed = polar.touch({
        **subscription, "cancel_at_period_end": False, "canceled_at": None, "ends_at": None,
        "customer_cancellation_reason": None, "customer_cancellation_comment": None})
    return announce(polar, changed, "subscription.uncanceled")


def _revoke(call: Call) -> Document:
    subscription = call.document("subscription")
    if subscription["status"] not in BILLABLE:
        raise _already_canceled()
    return show(call.polar, end(call.polar, subscription))


def end(polar: Polar, subscription: Document) -> Document:
    """End it now. Usage that was not yet billed is dropped: deliver and bill it before."""
    now = stamp(polar.now())
    switching.drop_usage(polar, subscription)
    changed = polar.touch({
        **subscription, "status": "canceled", "canceled_at": subscription["canceled_at"] or now,
        "ends_at": min(now, subscription["ends_at"] or now), "ended_at": now, "pending_update": None})
    kinds = ["subscription.revoked"] if subscription["canceled_at"] else ["subscription.canceled",
                                                                         "subscription.revoked"]
    return announce(polar, changed, *kinds)


def end_all(polar: Polar, customer_id: str) -> None:
    """End everything of a customer who is about to be deleted, grants included."""
    for subscription in polar.tables.find("subscription", customer_id=customer_id):
        if subscription["status"] in BILLABLE:
            end(polar, subscription)
    for grant in polar.tables.find("grant", customer_id=customer_id):
        if grant["revoked_at"] is None:
            benefits.revoke(polar, grant)


def billable(polar: Polar, customer_id: str) -> Document | None:
    """The customer's latest subscription that is billed, or None."""
    found = polar.tables.find("subscription", newest_first=True, customer_id=customer_id)
    return next((each for each in found if each["status"] in BILLABLE), None)


def show(polar: Polar, subscription: Document) -> Document:
    """A subscription as it is answered."""
    customer = customers.owner(polar, subscription["customer_id"])
    prices = [products.show_price(polar, price) for price in subscription["prices"]]
    shown_meters = [{**each, "meter": meters.show(polar.tables.need("meter", each["meter_id"]))}
                    for each in subscription["meters"]]
    return {
        **{key: subscription[key] for key in FIRST}, "customer": customers.show(polar, customer),
        "user_id": customer["id"], "user": customers.legacy_user(polar, customer),
        "product": products.show(polar, polar.tables.need("product", subscription["product_id"])), "discount": None,
        "price": main_price(prices), "prices": prices, "meters": shown_meters,
        "pending_update": subscription["pending_update"],
    }
