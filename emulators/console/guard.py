"""Who may change something here: this console's own pages, and programs; no other page in the same browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "testserver"}


def guarded(
    handler: Callable[[Request], Awaitable[Response]], own_url: str
) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler that changes something: 403 for what a page of another site sent.

    Browsers tell by Sec-Fetch-Site, older ones by Origin; programs send neither. The Host must be one of ours, else
    a foreign name that resolves to this machine would count as the same origin.
    """
    hosts = _LOOPBACK | {urlsplit(own_url).hostname or ""}

    async def call(request: Request) -> Response:
        if not _is_ours(request, hosts):
            return PlainTextResponse("Requests from other sites are refused.\n", 403)
        return await handler(request)

    return call


def _is_ours(request: Request, hosts: set[str]) -> bool:
    host = request.headers.get("host", "")
    if host.rsplit(":", 1)[0] not in hosts and host not in hosts:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host
