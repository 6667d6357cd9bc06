"""The forms of signing up, in and out: native POSTs, answered with a redirect to a page, so that cookies can be set.

A refusal travels as `?error=<code>` (see `accounts.texts`); the address that was typed (and the name, where there was
one) goes into a short-lived cookie, never into a URL, and passwords go nowhere. No GET changes anything: a mail's link
opens a page whose button posts here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from chatapp.accounts import cookies, recovery, sessions, sign_in, throttle
from chatapp.accounts.cookies import Cookie
from chatapp.accounts.errors import AccountError, Throttled
from chatapp.accounts.recovery import NewPasswordRefused, Recovery
from chatapp.accounts.sign_in import AccountServices, Browser, SignedIn
from chatapp.db import now
from chatapp.routes.guard import Refusal, client_address, guarded, read_form, safe_next

SIGN_IN, SIGN_UP, CHECK_MAIL = "/sign-in/", "/sign-up/", "/check-mail/"
CONFIRM, NEW_PASSWORD = "/auth/confirm/", "/new-password/"
FORM_SECONDS = 600
EVEN_SECONDS = 0.6
"""The least time for an answer that must not tell, by its haste, whether an address is known."""

T = TypeVar("T")
Form = dict[str, str]


def routes(
    services: AccountServices, *, trusted_proxies: int = 0, even_seconds: float = EVEN_SECONDS
) -> list[Route]:
    """All routes under /api/auth. `trusted_proxies` as in `guard.client_address`."""
    auth = _Auth(services, trusted_proxies, even_seconds)
    endpoints = {
        "sign-up": auth.sign_up, "sign-in": auth.sign_in, "sign-out": auth.sign_out, "confirm": auth.confirm,
        "resend": auth.resend, "recover": auth.recover, "new-password": auth.new_password, "visitor": auth.visitor,
    }
    return [
        Route(f"/api/auth/{name}", guarded(services.settings, endpoint), methods=["POST"])
        for name, endpoint in endpoints.items()
    ]


class _Auth:
    """One method per form."""

    def __init__(self, services: AccountServices, trusted_proxies: int, even_seconds: float) -> None:
        self._services, self._settings = services, services.settings
        self._trusted_proxies, self._even_seconds = trusted_proxies, even_seconds

    async def sign_in(self, request: Request) -> Response:
        """Fields: email, password, next."""
        form = await read_form(request)
        next_path = safe_next(form.get("next"))
        try:
            done = await sign_in.sign_in(
                self._services, self._browser(request), form.get("email", ""), form.get("password", "")
            )
        except AccountError as error:
            page = CHECK_MAIL if error.code == "email_not_confirmed" else SIGN_IN
            return self._refused(page, error, form, next_path)
        return self._signed_in(done, next_path)

    async def sign_up(self, request: Request) -> Response:
        """Fields: email, password, name, next."""
        form = await read_form(request)
        next_path = safe_next(form.get("next"))
        try:
            done = await self._evenly(sign_in.sign_up(
                self._services, self._browser(request), form.get("email", ""), form.get("password", ""),
                form.get("name", ""), next_path,
            ))
        except AccountError as error:
            return self._refused(SIGN_UP, error, form, next_path)
        return self._signed_in(done, next_path) if done else self._check_mail("signup", form, next_path)

    async def sign_out(self, request: Request) -> Response:
        """Fields: everywhere (`1` ends all of the person's sessions). Supabase is told after the answer."""
        form = await read_form(request)
        everywhere = form.get("everywhere") == "1"
        refresh_token = await sign_in.sign_out(self._services, self._browser(request), everywhere=everywhere)
        response = self._redirect("/", {}, sessions.cookie(""), self._typed({}), Cookie(cookies.RECOVERY, "", 0))
        if refresh_token is not None:
            response.background = BackgroundTask(
                sign_in.end_at_supabase, self._services, refresh_token, everywhere=everywhere
            )
        return response

    async def confirm(self, request: Request) -> Response:
        """Fields: token_hash, type, next: what the mail's link carried."""
        form = await read_form(request)
        next_path, kind = safe_next(form.get("next")), form.get("type", "")
        browser = self._browser(request)
        try:
            done = await recovery.confirm(self._services, browser, form.get("token_hash", ""), kind)
        except AccountError as error:
            return await self._unconfirmed(error, form, browser, next_path)
        if isinstance(done, SignedIn):
            return self._signed_in(done, next_path)
        if isinstance(done, Recovery):
            return self._redirect(NEW_PASSWORD, {"step": "choose"}, _recovery_cookie(done))
        return self._redirect(CHECK_MAIL, {"for": "email_change", "notice": "confirm_other_address"})

    async def resend(self, request: Request) -> Response:
        """Fields: email, next."""
        form = await read_form(request)
        next_path = safe_next(form.get("next"))
        work = recovery.resend(self._services, self._browser(request), form.get("email", ""), next_path)
        try:
            await self._evenly(work)
        except AccountError as error:
            return self._refused(CHECK_MAIL, error, form, next_path, {"for": "signup"})
        return self._check_mail("signup", form, next_path, {"notice": "mail_again"})

    async def recover(self, request: Request) -> Response:
        """Fields: email."""
        form = await read_form(request)
        try:
            await self._evenly(recovery.recover(self._services, self._browser(request), form.get("email", "")))
        except AccountError as error:
            return self._refused(NEW_PASSWORD, error, form, "/")
        return self._check_mail("recovery", form, "/")

    async def new_password(self, request: Request) -> Response:
        """Fields: password. The right to choose one is in the cookie that `confirm` has set."""
        form = await read_form(request)
        sealed = cookies.find(request.headers.get("cookie"), cookies.full_name(self._settings, cookies.RECOVERY))
        try:
            done = await recovery.new_password(
                self._services, self._browser(request), sealed, form.get("password", "")
            )
        except NewPasswordRefused as error:
            query = {"step": "choose", "error": error.code}
            return self._redirect(NEW_PASSWORD, query, _recovery_cookie(error.recovery))
        except AccountError as error:
            query = {} if error.code == "recovery_expired" else {"step": "choose"}
            return self._refused(NEW_PASSWORD, error, {}, "/", query)
        return self._signed_in(done, "/", {"notice": "password_changed"})

    async def visitor(self, request: Request) -> Response:
        """Fields: none. 204 with a session for a browser that has none; a page's script calls it before a chat."""
        await read_form(request)
        browser = self._browser(request)
        response = Response(status_code=204)
        db, settings = self._services.db, self._settings
        if await asyncio.to_thread(sessions.current, db, browser.cookie_header, settings, now()) is None:
            try:
                await asyncio.to_thread(throttle.check, db, settings, "visitor", browser.address, now())
            except Throttled as error:
                raise _too_often(error) from error
            done = await asyncio.to_thread(sign_in.start_visitor, db, settings, now(), browser.user_agent)
            self._set(response, sessions.cookie(done.token))
        return response

    async def _unconfirmed(self, error: AccountError, form: Form, browser: Browser, next_path: str) -> Response:
        """Back to the page of the link; after a double click, on to where the first click has led."""
        if error.code == "otp_expired" and form.get("type") != "recovery":
            session = await asyncio.to_thread(
                sessions.current, self._services.db, browser.cookie_header, self._settings, now()
            )
            if session is not None and not session.is_visitor:
                return self._redirect(next_path, {})
        unused = {"token_hash": form["token_hash"], "type": form["type"]} if error.code == "unavailable" else {}
        return self._refused(CONFIRM, error, {}, next_path, unused)

    def _browser(self, request: Request) -> Browser:
        return Browser(client_address(request, self._trusted_proxies), request.headers.get("cookie"),
                       request.headers.get("user-agent", ""))

    async def _evenly(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, and in any case `even_seconds`."""
        started = time.monotonic()
        try:
            return await work
        finally:
            await asyncio.sleep(max(0.0, started + self._even_seconds - time.monotonic()))

    def _signed_in(self, done: SignedIn, next_path: str, query: dict[str, str] | None = None) -> RedirectResponse:
        gone = (self._typed({}), Cookie(cookies.RECOVERY, "", 0))
        return self._redirect(next_path, query or {}, sessions.cookie(done.token), *gone)

    def _check_mail(
        self, purpose: str, form: Form, next_path: str, more: dict[str, str] | None = None
    ) -> RedirectResponse:
        query = {"for": purpose, **(more or {}), **_next(next_path)}
        return self._redirect(CHECK_MAIL, query, self._typed(form))

    def _refused(
        self, page: str, error: AccountError, form: Form, next_path: str, query: dict[str, str] | None = None
    ) -> RedirectResponse:
        if isinstance(error, Throttled):
            raise _too_often(error) from error
        set_cookies = [self._typed(form)] if form.get("email") else []
        return self._redirect(page, {**(query or {}), "error": error.code, **_next(next_path)}, *set_cookies)

    def _typed(self, form: Form) -> Cookie:
        """What has to stand in the form again: everything but the password. Without it, the cookie goes."""
        kept = {name: form[name].strip()[:254] for name in ("email", "name") if form.get(name)}
        return Cookie(cookies.FORM, quote(urlencode(kept), safe=""), FORM_SECONDS)

    def _redirect(self, path: str, query: dict[str, str], *set_cookies: Cookie) -> RedirectResponse:
        separator = "&" if "?" in path else "?"
        target = self._settings.public_url + path + (separator + urlencode(query) if query else "")
        response = RedirectResponse(target, 303, {"cache-control": "no-store"})
        for cookie in set_cookies:
            self._set(response, cookie)
        return response

    def _set(self, response: Response, cookie: Cookie) -> None:
        response.set_cookie(
            cookies.full_name(self._settings, cookie.name), cookie.value,
            max_age=cookie.max_age_seconds if cookie.value else 0, path="/", secure=self._settings.secure_cookies,
            httponly=True, samesite="lax",
        )


def _recovery_cookie(done: Recovery) -> Cookie:
    return Cookie(cookies.RECOVERY, done.sealed, recovery.RECOVERY_SECONDS)


def _next(next_path: str) -> dict[str, str]:
    return {"next": next_path} if next_path != "/" else {}


def _too_often(error: Throttled) -> Refusal:
    return Refusal(429, "Please wait a little", error.text, {"retry-after": str(int(error.wait_seconds) + 1)})
