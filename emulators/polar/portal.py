"""The customer's portal: subscription, cancel and resume, orders, and a way to pay what is open."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from emulators.polar import billing, orders, pages, products, sessions, subscriptions
from emulators.polar.context import Polar, moment
from emulators.polar.prices import fixed_cents, metered
from emulators.polar.tables import Document, new_id

EXPIRED = "<h1>This link is not valid any more.</h1><p>Please open the portal again from the app.</p>"
NO_REASON: Document = {"customer_cancellation_reason": None, "customer_cancellation_comment": None}


def routes(polar: Polar) -> list[Route]:
    """The portal, its actions, and generated invoices."""

    async def view(request: Request) -> Response:
        session = sessions.find(polar, request.query_params.get("customer_session_token", ""))
        return _page(polar, session) if session else pages.render("Portal", EXPIRED, 401)

    async def act(request: Request) -> Response:
        form = await request.form()
        token, action = str(form.get("token", "")), str(form.get("action", ""))
        with polar.tables.store.transaction():
            session = sessions.find(polar, token)
            if session is None or action not in ACTIONS:
                return pages.render("Portal", EXPIRED, 401)
            ACTIONS[action](polar, session["customer_id"])
        polar.rouse()
        return RedirectResponse(f"{polar.world.config.url}/polar/portal?customer_session_token={quote(token)}", 303)

    async def invoice(request: Request) -> Response:
        return _invoice(polar, request.path_params["id"])

    return [Route("/portal", view, methods=["GET"]), Route("/portal", act, methods=["POST"]),
            Route("/invoice/{id}", invoice, methods=["GET"])]


def _cancel(polar: Polar, customer_id: str) -> None:
    subscription = subscriptions.billable(polar, customer_id)
    if subscription is not None and not subscription["cancel_at_period_end"]:
        subscriptions.cancel(polar, subscription, NO_REASON)


def _resume(polar: Polar, customer_id: str) -> None:
    subscription = subscriptions.billable(polar, customer_id)
    if subscription is not None:
        subscriptions.resume(polar, subscription)


def _pay(polar: Polar, customer_id: str) -> None:
    """Give the customer a card that works, and collect what is open."""
    customer = polar.tables.need("customer", customer_id)
    polar.tables.save({**customer, "_card": "works",
                       "default_payment_method_id": customer["default_payment_method_id"] or new_id()})
    for order in polar.tables.find("order", customer_id=customer_id, status="pending"):
        paid = orders.collect(polar, order)
        billing.settle_order(polar, paid)


ACTIONS: dict[str, Callable[[Polar, str], None]] = {"cancel": _cancel, "resume": _resume, "pay": _pay}


def _page(polar: Polar, session: Document) -> Response:
    customer = polar.tables.need("customer", session["customer_id"])
    subscription = subscriptions.billable(polar, customer["id"])
    listed = polar.tables.find("order", newest_first=True, customer_id=customer["id"])
    current = _subscription(polar, session, subscription) if subscription else "<p>You have no subscription.</p>"
    is_open = any(order["status"] == "pending" for order in listed)
    pay = pages.problem("A payment failed.") + _button(session, "pay", "Pay with a card that works") if is_open else ""
    return pages.render("Customer portal", f"""
<p class="note">Emulated: no money moves.</p><h1>Your account</h1><p class="soft">{escape(customer["email"])}</p>
<section class="card"><h2>Subscription</h2>{current}</section>{pay}
<section class="card"><h2>Orders</h2>{_orders(polar, listed)}</section>
{pages.link(session["return_url"], "Back to the app")}""")


def _subscription(polar: Polar, session: Document, subscription: Document) -> str:
    product = polar.tables.need("product", subscription["product_id"])
    end = f"{moment(subscription['current_period_end']):%B %d, %Y}"
    cents = fixed_cents(subscription["prices"])
    price = f"{pages.dollars(cents)} / {subscription['recurring_interval']}" + (
        " and usage" if metered(subscription["prices"]) else "")
    if subscription["cancel_at_period_end"]:
        state, button = f"Ends on {end}.", _button(session, "resume", "Resume subscription")
    else:
        state, button = f"Renews on {end}.", _button(session, "cancel", "Cancel at the end of the period", plain=True)
    if subscription["status"] == "past_due":
        state = "Past due. " + state
    return f"<p><strong>{escape(product['name'])}</strong> · {price}</p><p>{state}</p>{button}"


def _button(session: Document, action: str, text: str, *, plain: bool = False) -> str:
    return (f'<form method="post"><input type="hidden" name="token" value="{escape(session["token"], quote=True)}">'
            f'<button name="action" value="{action}"{" class=plain" if plain else ""}>{text}</button></form>')


def _orders(polar: Polar, listed: list[Document]) -> str:
    if not listed:
        return "<p>There are none yet.</p>"
    rows = "".join(
        f"<tr><td>{order['created_at'][:10]}</td><td>{escape(_title(polar, order))}</td><td>{order['status']}</td>"
        f"<td>{pages.dollars(order['subtotal_amount'])}</td></tr>" for order in listed)
    return f"<table><tr><th>Date</th><th>For</th><th>Status</th><th>Total</th></tr>{rows}</table>"


def _title(polar: Polar, order: Document) -> str:
    return str(polar.tables.need("product", order["product_id"])["name"])


def _invoice(polar: Polar, order_id: str) -> Response:
    order = polar.tables.get("order", order_id)
    if order is None or not order["is_invoice_generated"]:
        return pages.render("Not found", "<h1>There is no such invoice.</h1>", 404)
    lines = "".join(f"<tr><td>{escape(line['label'])}</td><td>{pages.dollars(line['amount'])}</td></tr>"
                    for line in order["items"])
    product = products.brief(polar.tables.need("product", order["product_id"]))
    return pages.render(f"Invoice {order['invoice_number']}", f"""
<p class="note">Emulated: no money moves.</p><h1>Invoice {escape(order["invoice_number"])}</h1>
<p>{escape(order["billing_name"])} · {order["created_at"][:10]} · {escape(product["name"])}</p>
<table class="items"><tr><th>Item</th><th>Amount</th></tr>{lines}
<tr><th>Total</th><th>{pages.dollars(order["subtotal_amount"])}</th></tr></table>""")
