"""Polar's books, and the clock that moves them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from emulators import polar
from emulators.console.layout import button, code, note, page, section, table, tag, when

if TYPE_CHECKING:
    from emulators.world import World

HERE = "/console/polar"
_STATES = {"active": "good", "paid": "good", "delivered": "good", "failed": "bad", "past_due": "bad", "unpaid": "bad"}


def show(world: World, request: Request) -> Response:
    """The page, from `emulators.polar.overview`."""
    books = polar.overview(world)
    return page(
        "Polar", _clock(books), _subscriptions(books), _orders(books), _customers(books), _events(books),
        _webhooks(books), here=HERE,
    )  # fmt: skip


async def move(world: World, request: Request) -> Response:
    """The page's own POST: to the end of a period, or by some hours."""
    form = await request.form()
    try:
        if form.get("to") == "period_end":
            polar.advance_to_period_end(world, str(form.get("subscription_id") or "") or None)
        else:
            advance(world, float(str(form.get("hours"))) * 3600)
    except (KeyError, ValueError) as error:
        return page("The clock did not move", note(str(error)), here=HERE, status=422)
    return RedirectResponse(HERE, 303)


async def clock(world: World, request: Request) -> Response:
    """GET /_clock, POST /_clock {"seconds": n}: tell the emulated time, or move it forward and bill what is due."""
    if request.method == "POST":
        try:
            advance(world, float(json.loads(await request.body())["seconds"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 422)
    return JSONResponse({"now": world.clock.now().isoformat()})


def advance(world: World, seconds: float) -> None:
    """Move the clock forward, ValueError for a step back, and let Polar do what then is due."""
    world.clock.advance(timedelta(seconds=seconds))
    polar.cycle(world)


def _clock(books: dict[str, Any]) -> Markup:
    moves = Markup('<div class="row">{}{}{}</div>').format(
        button("Move to the end of the period", HERE, fields={"to": "period_end"}),
        button("Forward 1 hour", HERE, fields={"hours": 1}),
        button("Forward 1 day", HERE, fields={"hours": 24}),
    )
    now = Markup('<p>It is <strong>{}</strong> UTC. <span class="quiet">The clock only moves forward.</span></p>')
    return section("Clock", now.format(when(books["now"])), moves)


def _subscriptions(books: dict[str, Any]) -> Markup:
    rows = [
        (each["customer"]["email"], each["product"]["name"], _state(each["status"]), when(each["current_period_end"]),
         "at its end" if each["cancel_at_period_end"] else "–",
         button("To its end", HERE, fields={"to": "period_end", "subscription_id": each["id"]}))
        for each in books["subscriptions"]
    ]  # fmt: skip
    columns = ("Customer", "Product", "Status", "Period ends", "Cancelled", "Clock")
    return section("Subscriptions", table("Subscriptions", columns, rows, empty="No subscriptions yet."))


def _orders(books: dict[str, Any]) -> Markup:
    rows = [
        (each["customer"]["email"], each["invoice_number"] or "–", each["billing_reason"], _state(each["status"]),
         _money(each["total_amount"], each["currency"]), when(each["created_at"]))
        for each in books["orders"]
    ]  # fmt: skip
    columns = ("Customer", "Invoice", "Reason", "Status", "Total", "Made")
    return section("Orders", table("Orders", columns, rows, empty="No orders yet."))


def _customers(books: dict[str, Any]) -> Markup:
    rows = [
        (each["email"], code(each["external_id"] or "–"), code(each["id"]), when(each["created_at"]))
        for each in books["customers"]
    ]
    columns = ("E-mail", "External id", "Id", "Made")
    return section("Customers", table("Customers", columns, rows, empty="No customers yet."))


def _events(books: dict[str, Any]) -> Markup:
    rows = [
        (each["name"], code(each["external_customer_id"] or each["customer_id"] or "–"), when(each["timestamp"]),
         _json("Metadata", each["metadata"]))
        for each in books["events"]
    ]  # fmt: skip
    columns = ("Name", "Customer", "Time", "Content")
    return section("Events", table("Events", columns, rows, empty="No events yet."))


def _webhooks(books: dict[str, Any]) -> Markup:
    endpoints = Markup("").join(
        Markup("<p>To {} {}</p>").format(code(each["url"]), "" if each["enabled"] else tag("disabled", "bad"))
        for each in books["webhook_endpoints"]
    )
    rows = [
        (each["type"], _state(each["state"]), each["sent"], each["last_http_code"] or "–", when(each["created_at"]),
         _json("Payload", each["payload"]))
        for each in books["webhooks"]
    ]  # fmt: skip
    columns = ("Type", "State", "Sent", "Last answer", "Made", "Content")
    return section("Webhooks", endpoints, table("Webhooks", columns, rows, empty="No webhooks yet."))


def _state(name: str) -> Markup:
    return tag(name.replace("_", " "), _STATES.get(name, ""))


def _money(cents: int, currency: str) -> str:
    sign = "$" if currency == "usd" else f"{currency.upper()} "
    return f"{'-' if cents < 0 else ''}{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def _json(label: str, value: object) -> Markup:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return Markup("<details><summary>{}</summary><pre>{}</pre></details>").format(label, text)
