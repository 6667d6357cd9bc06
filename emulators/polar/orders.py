"""Orders: what was billed, whether it was paid, and its invoice."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Route

from emulators.polar import customers, outgoing, products
from emulators.polar.context import SLUG, Polar, stamp
from emulators.polar.customers import Address
from emulators.polar.errors import named, not_found
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.prices import main_price
from emulators.polar.tables import Document, new_id

RETRY_AFTER_DAYS = (2, 7, 14, 21)
SUBSCRIPTION_FIELDS = (
    "metadata", "created_at", "modified_at", "id", "amount", "currency", "recurring_interval",
    "recurring_interval_count", "status", "current_period_start", "current_period_end", "current_meter_period_start",
    "current_meter_period_end", "trial_start", "trial_end", "cancel_at_period_end", "canceled_at", "started_at",
    "ends_at", "ended_at", "past_due_at", "pause_at_period_end", "paused_at", "resumes_at", "customer_id",
    "product_id", "discount_id", "checkout_id", "seats", "units", "customer_cancellation_reason",
    "customer_cancellation_comment", "price_id")


class OrderUpdate(BaseModel):
    """What an invoice needs to be generated."""

    billing_name: str | None = None
    billing_address: Address | None = None


def routes(api: Api) -> list[Route]:
    """The order endpoints."""
    return [
        api.route("GET", "/orders/", listing),
        api.route("GET", "/orders/{id}", lambda call: show(call.polar, call.document("order"))),
        api.route("PATCH", "/orders/{id}", update),
        api.route("POST", "/orders/{id}/invoice", generate_invoice, status=202),
        api.route("GET", "/orders/{id}/invoice", invoice),
    ]


def listing(call: Call) -> Document:
    """Orders, the latest first."""
    polar = call.polar
    found = matching(polar.tables.find("order", newest_first=True), call, "customer_id", "product_id", "status",
                     "subscription_id", "checkout_id")
    if externals := call.query.get("external_customer_id"):
        owners = {owner["id"] for each in externals if (owner := customers.with_external_id(polar, each))}
        found = [order for order in found if order["customer_id"] in owners]
    return page(call, found, lambda order: show(polar, order))


def item(polar: Polar, label: str, cents: int, price: Document, *, proration: bool = False,
         start: str | None = None, end: str | None = None) -> Document:
    """One line of an order, in cents."""
    return {"created_at": stamp(polar.now()), "modified_at": None, "id": new_id(), "label": label, "amount": cents,
            "tax_amount": 0, "proration": proration, "product_price_id": price["id"],
            "start_timestamp": start, "end_timestamp": end}


def create(polar: Polar, customer_id: str, product: Document, prices: list[Document], lines: list[Document],
           reason: str, *, subscription_id: str | None = None, checkout: Document | None = None) -> Document:
    """Bill the lines and try to collect. Returns the order: `paid`, or `pending` if there was no way to collect."""
    customer = polar.tables.need("customer", customer_id)
    count = len(polar.tables.find("order", customer_id=customer_id)) + 1
    code = hashlib.sha256(customer_id.encode()).hexdigest()[:10].upper()
    order = polar.tables.add("order", {
        **polar.base(), "status": "pending", "paid": False, "subtotal_amount": sum(line["amount"] for line in lines),
        "applied_balance_amount": 0, "currency": "usd", "billing_reason": reason,
        "billing_name": customer["billing_name"], "billing_address": customer["billing_address"],
        "invoice_number": f"{SLUG.upper()}-{code}-{count:04d}", "is_invoice_generated": False,
        "customer_id": customer_id, "product_id": product["id"], "product_price_id": main_price(prices)["id"],
        "_price": main_price(prices), "subscription_id": subscription_id,
        "checkout_id": checkout and checkout["id"], "metadata": checkout["metadata"] if checkout else {},
        "next_payment_attempt_at": None, "items": lines, "_attempts": 0})
    order = _apply_balance(polar, order, customer)
    outgoing.emit(polar, "order.created", show(polar, order))
    return collect(polar, order)


def _apply_balance(polar: Polar, order: Document, customer: Document) -> Document:
    """Add what earlier small bills left open, or carry this one forward if it is too small to be charged.

    The balance is negative when the customer owes. A negative total (a credit for unused time) is kept for later too.
    """
    total, balance = order["subtotal_amount"], customer["_balance_cents"]
    due = total - balance
    if total != 0 and due < polar.settings.minimum_charge_cents and (customer["_card"] is not None or total < 0):
        polar.tables.save({**customer, "_balance_cents": balance - total})
        return polar.tables.save({**order, "applied_balance_amount": -total})
    if total > 0 and balance != 0:
        polar.tables.save({**customer, "_balance_cents": 0})
        return polar.tables.save({**order, "applied_balance_amount": -balance})
    return order


def collect(polar: Polar, order: Document) -> Document:
    """Try to collect an order's due amount from the customer's card; note the next attempt if that fails."""
    customer = polar.tables.need("customer", order["customer_id"])
    if due_cents(order) == 0 or customer["_card"] == "works":
        order = polar.touch({**order, "status": "paid", "paid": True, "next_payment_attempt_at": None})
        outgoing.emit(polar, "order.updated", show(polar, order))
        outgoing.emit(polar, "order.paid", show(polar, order))
        return order
    attempts = order["_attempts"] + 1
    pauses = (0, *RETRY_AFTER_DAYS)
    next_at = None
    if attempts < len(pauses):
        next_at = stamp(polar.now() + timedelta(days=pauses[attempts] - pauses[attempts - 1]))
    order = polar.touch({**order, "_attempts": attempts, "next_payment_attempt_at": next_at})
    outgoing.emit(polar, "order.updated", show(polar, order))
    return order


def due_cents(order: Document) -> int:
    """What is to be collected: the total and what is carried over from or to other orders."""
    return int(order["subtotal_amount"] + order["applied_balance_amount"])


def update(call: Call) -> Document:
    """Set the billing details that an invoice needs."""
    order = call.document("order")
    return show(call.polar, call.polar.touch({**order, **call.read(OrderUpdate).model_dump(exclude_unset=True)}))


def generate_invoice(call: Call) -> Response | None:
    """Generate the invoice; it can be fetched at once. 422 without billing details, 409 if the order is not paid."""
    order = call.document("order")
    if order["billing_name"] is None or order["billing_address"] is None:
        raise named(422, "MissingInvoiceBillingDetails",
                    "Billing name and address are required to generate an invoice.")
    if not order["paid"]:
        raise named(409, "OrderNotEligibleForInvoice", "This order is not eligible for an invoice.")
    order = call.polar.touch({**order, "is_invoice_generated": True})
    outgoing.emit(call.polar, "order.updated", show(call.polar, order))
    return None


def invoice(call: Call) -> Document:
    """Where the generated invoice can be seen."""
    order = call.document("order")
    if not order["is_invoice_generated"]:
        raise not_found()
    return {"url": f"{call.polar.world.config.url}/polar/invoice/{order['id']}"}


def show(polar: Polar, order: Document) -> Document:
    """An order as it is answered."""
    customer = customers.owner(polar, order["customer_id"])
    product = polar.tables.need("product", order["product_id"])
    subscription = polar.tables.get("subscription", order["subscription_id"])
    subtotal = order["subtotal_amount"]
    first = {key: order[key] for key in ("id", "created_at", "modified_at", "status", "paid", "subtotal_amount")}
    middle = {key: order[key] for key in (
        "currency", "billing_reason", "billing_name", "billing_address", "invoice_number", "is_invoice_generated")}
    references = {key: order[key] for key in (
        "customer_id", "product_id", "product_price_id", "subscription_id", "checkout_id", "next_payment_attempt_at",
        "metadata")}
    return {
        **first, "discount_amount": 0, "net_amount": subtotal, "tax_amount": 0, "total_amount": subtotal,
        "applied_balance_amount": order["applied_balance_amount"], "due_amount": due_cents(order),
        "refunded_amount": 0, "refunded_tax_amount": 0, **middle, "receipt_number": None, "seats": None, "units": None,
        **references, "discount_id": None, "custom_field_data": {}, "platform_fee_amount": 0,
        "platform_fee_currency": None, "customer": customers.show(polar, customer), "user_id": customer["id"],
        "user": customers.legacy_user(polar, customer), "product": products.brief(product),
        "product_price": products.show_price(polar, order["_price"]), "discount": None,
        "subscription": subscription and {**{key: subscription[key] for key in SUBSCRIPTION_FIELDS},
                                          "user_id": customer["id"]},
        "items": order["items"], "description": product["name"], "amount": subtotal, "from_balance_amount": 0,
        "refundable_amount": subtotal, "refundable_tax_amount": 0,
    }
