"""The page on which a checkout is paid. No money moves; two card numbers are known to everyone, a third to testers."""

from __future__ import annotations

import re
from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from emulators.polar import checkouts, pages, products
from emulators.polar.context import Polar
from emulators.polar.customers import EMAIL_PATTERN
from emulators.polar.errors import Refused
from emulators.polar.prices import fixed_cents, metered, needs_card
from emulators.polar.tables import Document

WORKS, DECLINED, FAILS_LATER = "4242424242424242", "4000000000000002", "4000000000000341"
DECLINED_MESSAGE = "Your card was declined. Please try again with a different payment method."
UNKNOWN_MESSAGE = "The emulator knows 4242 4242 4242 4242 (works) and 4000 0000 0000 0002 (declined)."


def routes(polar: Polar) -> list[Route]:
    """The page, its form, and the confirmation for checkouts without a success_url."""

    async def view(request: Request) -> Response:
        return _view(polar, request.path_params["secret"])

    async def submit(request: Request) -> Response:
        form = await request.form()
        fields = {name: str(value).strip() for name, value in form.items()}
        answer = _submit(polar, request.path_params["secret"], fields)
        polar.rouse()
        return answer

    async def confirmation(request: Request) -> Response:
        return _confirmation(polar, request.path_params["secret"])

    return [
        Route("/checkout/{secret}", view, methods=["GET"]),
        Route("/checkout/{secret}", submit, methods=["POST"]),
        Route("/checkout/{secret}/confirmation", confirmation, methods=["GET"]),
    ]


def _find(polar: Polar, secret: str) -> Document | None:
    return next(iter(polar.tables.find("checkout", client_secret=secret)), None)


def _view(polar: Polar, secret: str) -> Response:
    checkout = _find(polar, secret)
    if checkout is None:
        return pages.render("Not found", "<h1>This checkout does not exist.</h1>", 404)
    return _closed(polar, checkout) or _page(polar, checkout, {}, "", 200)


def _closed(polar: Polar, checkout: Document) -> Response | None:
    """What a checkout that is no longer open shows: the way on, or that it is too late."""
    if checkout["status"] == "succeeded":
        return RedirectResponse(checkout["success_url"], 303)
    if checkouts.is_expired(polar, checkout):
        back = pages.link(checkout["return_url"], "Back")
        return pages.render("Expired", f"<h1>This checkout session has expired.</h1>{back}", 410)
    return None


def _submit(polar: Polar, secret: str, fields: dict[str, str]) -> Response:
    """Pay. A second submit of the same checkout finds it succeeded, makes nothing, and leads to the same place."""
    with polar.tables.store.transaction():
        checkout = _find(polar, secret)
        if checkout is None:
            return pages.render("Not found", "<h1>This checkout does not exist.</h1>", 404)
        if (closed := _closed(polar, checkout)) is not None:
            return closed
        asks_card = needs_card(products.current_prices(polar.tables.need("product", checkout["product_id"])))
        email = checkout["customer_email"] or fields.get("email", "")
        number = re.sub(r"\D", "", fields.get("card", ""))
        if (problem := _problem(email, number if asks_card else None)) is not None:
            return _page(polar, checkout, fields, problem, 400)
        card = None if not asks_card else "fails" if number == FAILS_LATER else "works"
    try:
        with polar.tables.store.transaction():
            paid = checkouts.pay(polar, checkout, email, fields.get("name") or checkout["customer_name"], card)
    except Refused as refused:
        return _page(polar, checkout, fields, _message(refused), refused.status)
    return RedirectResponse(paid["success_url"], 303)


def _message(refused: Refused) -> str:
    detail = refused.body["detail"]
    return detail if isinstance(detail, str) else str(detail[0]["msg"])


def _problem(email: str, number: str | None) -> str | None:
    if not re.match(EMAIL_PATTERN, email):
        return "Please enter a valid e-mail address."
    if number is None or number in {WORKS, FAILS_LATER}:
        return None
    return DECLINED_MESSAGE if number == DECLINED else UNKNOWN_MESSAGE


def _page(polar: Polar, checkout: Document, fields: dict[str, str], problem: str, status: int) -> Response:
    product = polar.tables.need("product", checkout["product_id"])
    prices = products.current_prices(product)
    known = checkout["customer_email"]
    email = escape(known or fields.get("email", ""), quote=True)
    name = escape(fields.get("name") or checkout["customer_name"] or "", quote=True)
    number = escape(fields.get("card", "4242 4242 4242 4242"), quote=True)
    card = (f'<label for="card">Card number</label><input id="card" name="card" inputmode="numeric" '
            f'autocomplete="cc-number" required value="{number}" aria-describedby="cards">'
            '<p class="soft" id="cards">4242 4242 4242 4242 works, 4000 0000 0000 0002 is declined.</p>')
    action = f"Pay {pages.dollars(fixed_cents(prices))}" if fixed_cents(prices) else (
        "Subscribe" if product["is_recurring"] else "Get it")
    return pages.render(f"Checkout: {product['name']}", f"""
<p class="note">Emulated: no money moves.</p>
<section class="card"><h1>{escape(product["name"])}</h1><p class="price">{_price(polar, product)}</p>
<p class="soft">{escape(product["description"] or "")}</p></section>
{pages.problem(problem)}
<form method="post" class="card"><h2>Payment</h2>
<label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="email" required
 value="{email}" {"readonly" if known else ""}>
<label for="name">Name</label><input id="name" name="name" autocomplete="name" value="{name}">
{card if needs_card(prices) else ""}
<button type="submit" class="wide">{action}</button></form>
{pages.link(checkout["return_url"], "Back")}""", status)


def _price(polar: Polar, product: Document) -> str:
    prices = products.current_prices(product)
    period = f" / {product['recurring_interval']}" if product["is_recurring"] else ""
    text = f"{pages.dollars(fixed_cents(prices))}{period}"
    for price in metered(prices):
        meter = polar.tables.need("meter", price["meter_id"])
        many, unit = meter["custom_multiplier"] or 1, meter["custom_label"] or "unit"
        each = f"{pages.exact_dollars(price['unit_amount'], many)} per {unit}"
        text += f'<br><span class="usage">and {escape(meter["name"])}: {escape(each)}</span>'
    return text


def _confirmation(polar: Polar, secret: str) -> Response:
    checkout = _find(polar, secret)
    if checkout is None or checkout["status"] != "succeeded":
        return pages.render("Not found", "<h1>Nothing was bought here.</h1>", 404)
    return pages.render("Thank you", '<h1>Thank you.</h1><p>The checkout succeeded. You can close this page.</p>')
