"""Billing: received events are assigned to subscriptions, periods end, invoices are made, failed ones retried.

An event is billed to the subscription that its customer has when the billing run comes (every `billing_seconds`, and
at the end of a period for the customer concerned), whatever its timestamp says. Without one it is never billed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from emulators.polar import benefits, measuring, orders, outgoing, state, subscriptions, switching, usage
from emulators.polar.context import Polar, moment, stamp
from emulators.polar.events import VISIBLE
from emulators.polar.periods import later
from emulators.polar.prices import line_cents, metered
from emulators.polar.tables import Document

NEVER = "never"


def cycle(polar: Polar) -> None:
    """Do everything that the clock says is due. Cheap when nothing is."""
    with polar.tables.store.transaction():
        now = stamp(polar.now())
        state.refresh_due(polar)
        _billing_run(polar)
        _expire_checkouts(polar, now)
        while (subscription := _next_to_renew(polar, now)) is not None:
            renew(polar, subscription)
        _retry_payments(polar, now)


def _billing_run(polar: Polar) -> None:
    """Assign all pending events, if the last run was long enough ago."""
    organization = polar.tables.find("organization")[0]
    last = moment(organization.get("billed_at") or organization["created_at"])
    if polar.now() - last < timedelta(seconds=polar.settings.billing_seconds):
        return
    polar.tables.save({**organization, "billed_at": stamp(polar.now())})
    sql = (f"SELECT DISTINCT customer_id FROM polar_event WHERE subscription_id IS NULL AND order_id IS NULL "
           f"AND customer_id IS NOT NULL AND {VISIBLE} AND source = 'user'")
    for row in polar.tables.rows(sql):
        assign(polar, row["customer_id"])


def assign(polar: Polar, customer_id: str) -> None:
    """Assign the customer's pending events to the subscription that is billed now, or to none, for good."""
    subscription = subscriptions.billable(polar, customer_id)
    polar.tables.write(
        f"UPDATE polar_event SET subscription_id = ? WHERE customer_id = ? AND subscription_id IS NULL "
        f"AND {VISIBLE} AND source = 'user'", subscription["id"] if subscription else NEVER, customer_id)
    if subscription is not None:
        _measure(polar, subscription)
        state.mark(polar, customer_id)


def _measure(polar: Polar, subscription: Document) -> Document:
    """Bring the subscription's meters up to the events assigned to it and not billed yet."""
    rows = polar.tables.rows(
        "SELECT * FROM polar_event WHERE subscription_id = ? AND order_id IS NULL ORDER BY seq", subscription["id"])
    prices = {price["meter_id"]: price for price in metered(subscription["prices"])}
    measured = []
    for each in subscription["meters"]:
        meter = polar.tables.need("meter", each["meter_id"])
        consumed = measuring.aggregate(meter["aggregation"], measuring.measured(meter, rows))
        credited = usage.row_of(polar, subscription["customer_id"], meter["id"])["credited_units"]
        measured.append({**each, "modified_at": stamp(polar.now()), "consumed_units": consumed,
                         "credited_units": credited, "amount": line_cents(prices[meter["id"]], consumed, credited)})
    return polar.tables.save({**subscription, "meters": measured})


def _next_to_renew(polar: Polar, now: str) -> Document | None:
    sql = ("SELECT id FROM polar_document WHERE kind = 'subscription' AND body ->> '$.current_period_end' <= ? "
           "AND body ->> '$.status' IN ('active', 'trialing', 'past_due') "
           "ORDER BY body ->> '$.current_period_end' LIMIT 1")
    found = polar.tables.rows(sql, now)
    return polar.tables.need("subscription", found[0]["id"]) if found else None


def renew(polar: Polar, subscription: Document) -> None:
    """End a period: bill its usage, then begin the next one, or end the subscription if it was canceled."""
    customer_id = subscription["customer_id"]
    state.settle(polar, customer_id)
    assign(polar, customer_id)
    ended = _measure(polar, polar.tables.need("subscription", subscription["id"]))
    lines = _usage_lines(polar, ended)
    product = polar.tables.need("product", ended["product_id"])
    if ended["cancel_at_period_end"]:
        order = orders.create(polar, customer_id, product, ended["prices"], lines, "subscription_cycle",
                              subscription_id=ended["id"]) if lines else None
        _mark_billed(polar, ended, order)
        subscriptions.end(polar, polar.tables.need("subscription", ended["id"]))
        return
    renewed = _next_period(polar, ended)
    product = polar.tables.need("product", renewed["product_id"])
    order = orders.create(
        polar, customer_id, product, renewed["prices"], [*_fixed_lines(polar, renewed, product), *lines],
        "subscription_cycle", subscription_id=renewed["id"])
    _mark_billed(polar, ended, order)
    _reset_meters(polar, ended)
    outgoing.emit(polar, "subscription.cycled", subscriptions.show(polar, renewed))
    after_payment(polar, renewed, order)


def _mark_billed(polar: Polar, subscription: Document, order: Document | None) -> None:
    polar.tables.write("UPDATE polar_event SET order_id = ? WHERE subscription_id = ? AND order_id IS NULL",
                       order["id"] if order else switching.DROPPED, subscription["id"])


def _next_period(polar: Polar, subscription: Document) -> Document:
    pending = subscription["pending_update"]
    changes: Document = {"pending_update": None}
    if pending is not None:
        changes |= switching.terms(polar, polar.tables.need("product", pending["product_id"]))
    renewed = {**subscription, **changes, "current_period_start": subscription["current_period_end"]}
    end = later(moment(subscription["current_period_end"]), renewed["recurring_interval"],
                renewed["recurring_interval_count"])
    renewed["current_period_end"] = stamp(end)
    nothing = {"consumed_units": 0.0, "credited_units": 0, "amount": 0}
    renewed["meters"] = [{**each, **nothing} for each in renewed["meters"]]
    return polar.touch({**renewed, "_owed_lines": []})


def _fixed_lines(polar: Polar, subscription: Document, product: Document) -> list[Document]:
    start, end = subscription["current_period_start"], subscription["current_period_end"]
    label = f"{product['name']} — From {_day(moment(start))} to {_day(moment(end))}"
    return [orders.item(polar, label, price["price_amount"], price, start=start, end=end)
            for price in subscription["prices"] if price["amount_type"] == "fixed"]


def _day(at: datetime) -> str:
    return f"{at:%b} {at.day}, {at.year}"


def _usage_lines(polar: Polar, ended: Document) -> list[Document]:
    """What is owed from a switch of product, and one line per meter with anything consumed."""
    lines = list(ended["_owed_lines"])
    prices = {price["meter_id"]: price for price in metered(ended["prices"])}
    for each in ended["meters"]:
        if each["consumed_units"]:
            price = prices[each["meter_id"]]
            label = _usage_label(polar.tables.need("meter", each["meter_id"])["name"], each, price)
            lines.append(orders.item(polar, label, each["amount"], price, start=ended["current_period_start"],
                                     end=ended["current_period_end"]))
    return lines


def _usage_label(name: str, measured: Document, price: Document) -> str:
    units = max(0.0, measured["consumed_units"] - measured["credited_units"])
    dollars = f"{float(price['unit_amount']) / 100:.14f}".rstrip("0").rstrip(".")
    label = f"{name} — ({units:,.10g} consumed units) × ${dollars}"
    uncapped = line_cents({**price, "cap_amount": None}, measured["consumed_units"], measured["credited_units"])
    if price["cap_amount"] is not None and uncapped > price["cap_amount"]:
        label += f" — Capped at ${price['cap_amount'] / 100:.2f}"
    return label


def _reset_meters(polar: Polar, ended: Document) -> None:
    """Begin to count anew, and credit the benefits of the new period."""
    left = {each["meter_id"]: usage.reset(polar, ended["customer_id"], each["meter_id"]) for each in ended["meters"]}
    for grant in polar.tables.find("grant", subscription_id=ended["id"]):
        benefit = polar.tables.need("benefit", grant["benefit_id"])
        if grant["revoked_at"] is None and benefit["type"] == "meter_credit":
            usage.credit(polar, grant, benefit, carried=left.get(benefit["properties"]["meter_id"], 0.0))
            granted = polar.tables.need("grant", grant["id"])
            outgoing.emit(polar, "benefit_grant.cycled", benefits.show_grant(polar, granted))


def after_payment(polar: Polar, subscription: Document, order: Document) -> Document:
    """Let the subscription follow its order: active when paid, past due when not. Access ends while it is past due."""
    if order["paid"]:
        changed = polar.touch({**subscription, "status": "active", "past_due_at": None})
        kinds = ["subscription.active"] if subscription["status"] == "past_due" else []
        return subscriptions.announce(polar, changed, *kinds)
    since = subscription["past_due_at"] or stamp(polar.now())
    changed = polar.touch({**subscription, "status": "past_due", "past_due_at": since})
    kinds = [] if subscription["status"] == "past_due" else ["subscription.past_due"]
    return subscriptions.announce(polar, changed, *kinds)


def _retry_payments(polar: Polar, now: str) -> None:
    """Try again where a payment failed; after the last attempt the subscription is revoked."""
    sql = ("SELECT id FROM polar_document WHERE kind = 'order' AND body ->> '$.status' = 'pending' "
           "AND body ->> '$.next_payment_attempt_at' <= ?")
    for row in polar.tables.rows(sql, now):
        order = orders.collect(polar, polar.tables.need("order", row["id"]))
        subscription = polar.tables.get("subscription", order["subscription_id"])
        if subscription is None or subscription["status"] not in subscriptions.BILLABLE:
            continue
        if order["paid"]:
            settle_order(polar, order)
        elif order["next_payment_attempt_at"] is None:
            subscriptions.end(polar, subscription)


def settle_order(polar: Polar, order: Document) -> None:
    """After a late payment: the subscription is active again if nothing else is open."""
    subscription = polar.tables.get("subscription", order["subscription_id"])
    open_orders = polar.tables.find("order", subscription_id=order["subscription_id"], status="pending")
    if subscription is not None and subscription["status"] == "past_due" and not open_orders:
        after_payment(polar, subscription, order)


def _expire_checkouts(polar: Polar, now: str) -> None:
    from emulators.polar import checkouts  # which begin the subscriptions that are billed here

    sql = ("SELECT id FROM polar_document WHERE kind = 'checkout' AND body ->> '$.status' = 'open' "
           "AND body ->> '$.expires_at' <= ?")
    for row in polar.tables.rows(sql, now):
        checkouts.expire(polar, polar.tables.need("checkout", row["id"]))
