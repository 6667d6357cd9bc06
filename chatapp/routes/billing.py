"""Checkout, portal, the account's status and its next price over HTTP. Forms are native: they need no script."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from chatapp.accounts import sessions
from chatapp.accounts.sessions import Session
from chatapp.billing import checkout
from chatapp.billing.quotes import quote
from chatapp.billing.status import status
from chatapp.billing.texts import BillingRefused
from chatapp.db import now
from chatapp.routes.guard import guarded, read_form
from chatapp.services import Services


def routes(services: Services) -> list[Route]:
    """`POST /api/billing/checkout`, `POST /api/billing/portal`, `GET /api/billing/status`, `GET /api/billing/quote`."""
    settings = services.settings

    async def session_of(request: Request) -> Session | None:
        return await asyncio.to_thread(sessions.current, services.db, request.headers.get("cookie"), settings, now())

    async def person_of(request: Request) -> Session:
        session = await session_of(request)
        if session is None or session.is_visitor:
            raise BillingRefused("sign_in_first")
        return session

    async def start_checkout(request: Request) -> Response:
        """303 to Polar's checkout of the form's `plan`, or back to the app with a notice."""
        form = await read_form(request)
        try:
            person = await person_of(request)
            return _to(await checkout.start(services, person.account_id, person.email, form.get("plan", "")))
        except BillingRefused as refusal:
            return _notice(settings.public_url, refusal)

    async def open_portal(request: Request) -> Response:
        """303 to a fresh session in Polar's portal, or back to the app with a notice."""
        try:
            return _to(await checkout.portal(services, (await person_of(request)).account_id))
        except BillingRefused as refusal:
            return _notice(settings.public_url, refusal)

    async def show_status(request: Request) -> Response:
        """The status of the session's own account; 403 without a session."""
        session = await session_of(request)
        if session is None:
            return _nobody()
        found = await asyncio.to_thread(status, services.db, settings, session.account_id, now())
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    async def show_quote(request: Request) -> Response:
        """What the next question of the session's own account will cost; 403 without a session."""
        session = await session_of(request)
        if session is None:
            return _nobody()
        found = await asyncio.to_thread(quote, services.db, settings, session.account_id, now())
        return JSONResponse(found.as_json(), headers={"Cache-Control": "no-store"})

    return [
        Route("/api/billing/checkout", guarded(settings, start_checkout), methods=["POST"]),
        Route("/api/billing/portal", guarded(settings, open_portal), methods=["POST"]),
        Route("/api/billing/status", show_status, methods=["GET"]),
        Route("/api/billing/quote", show_quote, methods=["GET"]),
    ]


def _nobody() -> Response:
    return JSONResponse({"error": "Sign in to see your plan."}, 403, {"Cache-Control": "no-store"})


def _to(url: str) -> Response:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


def _notice(public_url: str, refusal: BillingRefused) -> Response:
    return _to(f"{public_url}/?{urlencode({'notice': refusal.code})}")
