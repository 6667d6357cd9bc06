"""What every Supabase handler is given, and how one is turned into an endpoint."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from emulators.supabase.errors import AuthError, OAuthError, invalid
from emulators.supabase.hook import Hook
from emulators.supabase.tokens import Signer

if TYPE_CHECKING:
    from emulators.world import World

Handler = Callable[["Auth", Request], Awaitable[Response]]

_EMAIL = re.compile(r"[^@\s<>,;]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_OPEN_PATHS = ("/verify", "/callback", "/authorize", "/.well-known/jwks.json")
"""What the gateway lets through without an API key."""


@dataclass(frozen=True)
class Auth:
    """The auth server: the world around it, its signing key, its hook, and one lock per address that mail goes to.

    The locks stand for the row locks of the real server's transaction, which stays open while the hook is called.
    """

    world: World
    signer: Signer
    hook: Hook
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The issuer and base address, `<emulators>/supabase/auth/v1`."""
        return self.signer.issuer

    @property
    def site_url(self) -> str:
        """The project's Site URL."""
        return self.world.config.site_url or self.world.config.app_url

    def now(self) -> datetime:
        """The emulated time."""
        return self.world.clock.now()

    def lock(self, email: str) -> asyncio.Lock:
        """The lock of one address."""
        return self.locks.setdefault(email, asyncio.Lock())

    def redirect(self, wanted: str | None) -> str:
        """`wanted` if the project allows it, else the site's address.

        Allowed is what has the site's scheme and host (any port on localhost) and loopback addresses.
        """
        site, target = urlsplit(self.site_url), urlsplit(wanted or "")
        host = target.hostname or ""
        same = (target.scheme, host) == (site.scheme, site.hostname)
        if same and (host == "localhost" or target.port == site.port):
            return wanted or ""
        if target.scheme in ("http", "https") and re.fullmatch(r"127(\.\d{1,3}){3}|::1", host):
            return wanted or ""
        return self.site_url


def endpoint(auth: Auth, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Bind a handler to the server, and render what it raises."""

    async def call(request: Request) -> Response:
        try:
            return await handler(auth, request)
        except (AuthError, OAuthError) as error:
            return error.response(request)

    return call


async def parameters(request: Request) -> dict[str, Any]:
    """The JSON object in the body, without its nulls; AuthError 400 `bad_json` for anything else."""
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {error}") from error
    if not isinstance(body, dict):
        raise AuthError(400, "bad_json", "Could not parse request body as JSON: an object is expected")
    return {name: value for name, value in body.items() if value is not None}


def text(body: dict[str, Any], name: str) -> str:
    """A string parameter, empty if it is absent."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {name} must be a string")
    return value


def mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    """An object parameter, empty if it is absent."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {name} must be an object")
    return value


def address(value: str) -> str:
    """A valid e-mail address in lower case, else AuthError 400."""
    if not value:
        raise invalid("An email address is required")
    if len(value) > 255:
        raise invalid("An email address is too long")
    if not _EMAIL.fullmatch(value):
        raise invalid("Unable to validate email address: invalid format")
    return value.lower()


def bearer(request: Request) -> str:
    """The token in Authorization. The gateway puts the API key there where a client sends none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token
    return request.headers.get("apikey") or request.query_params.get("apikey", "")


def ip_address(request: Request) -> str:
    """The caller's address, the first of X-Forwarded-For if there is one."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return forwarded or (request.client.host if request.client else "")


class Gateway:
    """ASGI middleware that stands for the gateway: no valid API key, no entry."""

    def __init__(self, app: ASGIApp, *, keys: tuple[str, ...]) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 in the gateway's own words."""
        if scope["type"] != "http" or str(scope["path"]).endswith(_OPEN_PATHS):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = headers.get(b"apikey", b"").decode("latin-1") or QueryParams(scope["query_string"]).get("apikey", "")
        if key in self.keys:
            await self.app(scope, receive, send)
            return
        missing = {
            "message": "No API key found in request",
            "hint": "No `apikey` request header or url param was found.",
        }
        wrong = {"message": "Invalid API key", "hint": "Double check your API key."}
        await JSONResponse(wrong if key else missing, 401)(scope, receive, send)
