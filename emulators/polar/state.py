"""A customer's state: late by design. The real one is a cache refreshed by jobs; relying on it shows here as there.

After a change of a subscription or a product's benefits, the state keeps showing what was for
`state_delay_seconds`; then benefits are granted or revoked and the state is what it should be. Usage follows the
events by `usage_delay_seconds`. `customer.state_changed` is sent twice: at once with the old state, as seen from the
real server, and again when the state has caught up.
"""

from __future__ import annotations

from datetime import timedelta

from starlette.routing import Route

from emulators.polar import benefits, customers, outgoing, usage
from emulators.polar.context import Polar, stamp
from emulators.polar.http import Api, Call
from emulators.polar.tables import Document

ACTIVE = ("active", "trialing")
SUBSCRIPTION_FIELDS = (
    "id", "created_at", "modified_at", "custom_field_data", "metadata", "status", "amount", "currency",
    "recurring_interval", "current_period_start", "current_period_end", "trial_start", "trial_end",
    "cancel_at_period_end", "canceled_at", "started_at", "ends_at", "product_id", "discount_id", "price_id",
    "seats", "units")
EMPTY: Document = {"active_subscriptions": [], "granted_benefits": []}


def routes(api: Api) -> list[Route]:
    """The state endpoints. They stand before those with a bare id."""
    return [
        api.route("GET", "/customers/external/{external_id}/state",
                  lambda call: read(call.polar, customers.by_external(call))),
        api.route("GET", "/customers/{id}/state", _by_id),
    ]


def _by_id(call: Call) -> Document:
    return read(call.polar, call.document("customer"))


def read(polar: Polar, customer: Document) -> Document:
    """The state as it can be seen now."""
    if customer["_state_due"] is not None and customer["_state_due"] <= stamp(polar.now()):
        customer = refresh(polar, customer)
    return _shown(polar, customer)


def _shown(polar: Polar, customer: Document) -> Document:
    rows = usage.refresh(polar, customer["id"])
    return {**customers.show(polar, customer), **(customer["_state"] or EMPTY),
            "active_meters": [usage.in_state(row) for row in rows]}


def schedule(polar: Polar, customer_id: str) -> None:
    """Let the state catch up a moment from now; tell at once that something changed."""
    outgoing.emit(polar, "customer.state_changed", _shown(polar, polar.tables.need("customer", customer_id)))
    mark(polar, customer_id)


def mark(polar: Polar, customer_id: str) -> None:
    """Let the state catch up a moment from now."""
    customer = polar.tables.need("customer", customer_id)
    if customer["_state_due"] is None:
        due = polar.now() + timedelta(seconds=polar.settings.state_delay_seconds)
        polar.tables.save({**customer, "_state_due": stamp(due)})


def refresh_due(polar: Polar) -> None:
    """Refresh every state whose time has come."""
    sql = "SELECT id FROM polar_document WHERE kind = 'customer' AND body ->> '$._state_due' <= ?"
    for row in polar.tables.rows(sql, stamp(polar.now())):
        refresh(polar, polar.tables.need("customer", row["id"]))


def settle(polar: Polar, customer_id: str) -> None:
    """Refresh the state now if a refresh is pending: an invoice must see the credits of its period."""
    customer = polar.tables.need("customer", customer_id)
    if customer["_state_due"] is not None:
        refresh(polar, customer)


def refresh(polar: Polar, customer: Document) -> Document:
    """Grant and revoke what the subscriptions say, rebuild the state, and tell. Returns the customer."""
    subscriptions = polar.tables.find("subscription", customer_id=customer["id"])
    for subscription in subscriptions:
        _sync_grants(polar, subscription)
    customer = polar.tables.need("customer", customer["id"])
    snapshot = {
        "active_subscriptions": [_subscription(each) for each in subscriptions if each["status"] in ACTIVE],
        "granted_benefits": [_grant(polar, grant) for grant in polar.tables.find("grant", customer_id=customer["id"])
                             if grant["revoked_at"] is None]}
    customer = polar.tables.save({**customer, "_state_due": None, "_state": snapshot})
    outgoing.emit(polar, "customer.state_changed", _shown(polar, customer))
    return customer


def _sync_grants(polar: Polar, subscription: Document) -> None:
    wanted: list[str] = []
    if subscription["status"] in ACTIVE:
        wanted = polar.tables.need("product", subscription["product_id"])["benefit_ids"]
    held = {grant["benefit_id"]: grant for grant in polar.tables.find("grant", subscription_id=subscription["id"])
            if grant["revoked_at"] is None}
    for benefit_id in [each for each in held if each not in wanted]:
        benefit = polar.tables.need("benefit", benefit_id)
        benefits.revoke(polar, held[benefit_id])
        if benefit["type"] == "meter_credit":
            usage.recount_credit(polar, subscription["customer_id"], benefit["properties"]["meter_id"])
    for benefit_id in [each for each in wanted if each not in held]:
        benefit = polar.tables.need("benefit", benefit_id)
        granted = benefits.grant(polar, subscription, benefit)
        if benefit["type"] == "meter_credit":
            usage.credit(polar, granted, benefit)


def _subscription(subscription: Document) -> Document:
    return {**{key: subscription[key] for key in SUBSCRIPTION_FIELDS}, "meters": subscription["meters"]}


def _grant(polar: Polar, grant: Document) -> Document:
    benefit = polar.tables.need("benefit", grant["benefit_id"])
    return {"id": grant["id"], "created_at": grant["created_at"], "modified_at": grant["modified_at"],
            "granted_at": grant["granted_at"], "benefit_id": benefit["id"], "benefit_type": benefit["type"],
            "benefit_metadata": benefit["metadata"], "properties": {}}
