"""The console: pages for people at the root, and the emulators' own HTTP for tests."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulators import resend
from emulators.console import faults, mail, polar
from emulators.console.guard import guarded
from emulators.console.layout import code, note, page, section, tag, when
from emulators.faults import Fault

if TYPE_CHECKING:
    from emulators.world import World

__all__ = ["routes"]

Handler = Callable[["World", Request], Response | Awaitable[Response]]

_WHAT = {
    "supabase": "Sign-up, sign-in, Google, sessions",
    "polar": "Customers, checkout, usage, webhooks",
    "resend": "Mail",
    "valyu": "Web and paper search",
    "daytona": "Sandboxes for code",
    "llm": "Language models",
}


def routes(world: World) -> list[BaseRoute]:
    """Pages at / and /console, HTTP at /_faults, /_clock and /health."""
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/", _overview),
        ("GET", "/console/mail", mail.inbox),
        ("GET", "/console/mail/{mail_id}", mail.one),
        ("GET", "/console/polar", polar.show),
        ("POST", "/console/polar", polar.move),
        ("GET", "/console/faults", faults.show),
        ("POST", "/console/faults", faults.change),
        ("GET", "/_faults", faults.listing),
        ("POST", "/_faults", faults.switch_on),
        ("DELETE", "/_faults", faults.switch_off),
        ("GET", "/_clock", polar.clock),
        ("POST", "/_clock", polar.clock),
        ("GET", "/health", _health),
    ]
    return [Route(path, _endpoint(world, method, handler), methods=[method]) for method, path, handler in table]


def _endpoint(world: World, method: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Bind a handler to the world; what changes something is refused to other sites' pages."""

    async def call(request: Request) -> Response:
        answer = handler(world, request)
        return await answer if inspect.isawaitable(answer) else answer

    return call if method == "GET" else guarded(call, world.config.url)


def _overview(world: World, request: Request) -> Response:
    active = world.faults.active()
    cards = Markup("").join(
        _card(world, vendor, [str(row["kind"]) for row in active if row["vendor"] == vendor])
        for vendor in faults.VENDORS
    )
    count = len(resend.inbox(world))
    about = Markup(
        '<div class="card"><dl><dt>App</dt><dd>{app}</dd><dt>Clock</dt><dd>{now} UTC</dd>'
        '<dt>Mail</dt><dd><a href="/console/mail">{mails}</a></dd></dl></div>'
    ).format(
        app=code(world.config.app_url), now=when(world.clock.now().isoformat()),
        mails="1 mail" if count == 1 else f"{count} mails",
    )  # fmt: skip
    intro = note("Local stand-ins for the vendors. Nothing here leaves this machine, and no money moves.")
    listed = section("Vendors", Markup('<div class="cards">{}</div>').format(cards))
    return page("Overview", intro, about, listed, here="/")


def _card(world: World, vendor: str, active: list[str]) -> Markup:
    states = [tag(faults.LABELS[Fault(kind)], "bad") for kind in active] or [tag("well", "good")]
    return Markup(
        '<div class="card"><h3>{}</h3><p class="quiet">{}</p><p>{}</p><div class="row">{}</div></div>'
    ).format(vendor, _WHAT[vendor], code(f"{world.config.url}/{vendor}"), Markup(" ").join(states))


def _health(world: World, request: Request) -> Response:
    return JSONResponse({"status": "ok"})
