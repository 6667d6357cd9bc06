"""What stands before every route that changes something: where the request comes from, how large it is, where it leads.

Cross-site requests: browsers send `Origin` with every POST and let no script change it, so an Origin must be ours.
Where a page's referrer policy makes it `null`, and where it is missing, `Sec-Fetch-Site` decides, which no script can
set either: `same-origin`, or also `same-site` where the app's pages and routes have two addresses. A request with
neither is no browser's form and is refused. Signed webhooks are verified by their signature instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from chatapp.settings import Settings

BODY_LIMIT_BYTES = 64 * 1024
FIELD_LIMIT = 50
FORM = "application/x-www-form-urlencoded"
PATH_LIMIT = 2000

Endpoint = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """A request that is turned away before anything is done; shown as a small page.

    Attributes:
        status: the HTTP status.
        title: one line. text: what the person can do.
    """

    def __init__(self, status: int, title: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {title}")
        self.status, self.title, self.text, self.headers = status, title, text, dict(headers or {})


def guarded(settings: Settings, endpoint: Endpoint) -> Endpoint:
    """The endpoint behind the check of origin; its refusals become pages."""

    async def answer(request: Request) -> Response:
        try:
            check_origin(request, settings)
            return await endpoint(request)
        except Refusal as refusal:
            return refusal_page(refusal, settings)

    return answer


def check_origin(request: Request, settings: Settings) -> None:
    """Raise Refusal 403 unless the request comes from our own pages; see the module's text for the rule."""
    origin = request.headers.get("origin", "null")
    own = {_origin_of(settings.public_url), _origin_of(settings.api_url)}
    if origin != "null":
        allowed = origin in own
    else:
        sites = {"same-origin"} if len(own) == 1 else {"same-origin", "same-site"}
        allowed = request.headers.get("sec-fetch-site") in sites
    if not allowed:
        raise Refusal(403, "This form did not come from our site",
                      "For your safety nothing was done. Open our site and send the form from there.")


async def read_body(request: Request, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The body, counted while it arrives, whatever Content-Length claims. Raises Refusal 413 when it is too long."""
    body = bytearray()
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > limit_bytes:
        raise _too_long(limit_bytes)
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise _too_long(limit_bytes)
    return bytes(body)


async def read_form(request: Request, limit_bytes: int = BODY_LIMIT_BYTES) -> dict[str, str]:
    """The fields of a native form's POST; of a repeated one, the first. Raises Refusal 400, 413 or 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, "This is not a form", f"Forms are sent as {FORM}.")
    body = await read_body(request, limit_bytes)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELD_LIMIT)
    except ValueError as error:
        raise Refusal(400, "This form cannot be read", "Go back, reload the page and try again.") from error
    return dict(reversed(pairs))


def safe_next(path: str | None, default: str = "/") -> str:
    """A path on our own site to go to next, or `default` for anything that could lead elsewhere."""
    if not path or len(path) > PATH_LIMIT or not path.startswith("/") or path.startswith("//"):
        return default
    if "\\" in path or any(ord(c) <= 32 or ord(c) == 127 or 128 <= ord(c) < 160 for c in path):
        return default
    try:
        parts = urlsplit(path)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else path


def client_address(request: Request, trusted_proxies: int = 0) -> str:
    """The address that a request comes from.

    Args:
        request: behind `trusted_proxies` reverse proxies, each of which appends the address that it saw to
            X-Forwarded-For. What stands further left is the client's own invention.
        trusted_proxies: 0 means that the peer is the client, and the header is ignored.
    """
    peer = request.client.host if request.client else "unknown"
    if trusted_proxies < 1:
        return peer
    seen = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    return seen[-trusted_proxies] if len(seen) >= trusted_proxies and seen[-trusted_proxies] else peer


def refusal_page(refusal: Refusal, settings: Settings) -> HTMLResponse:
    """A page that needs nothing else: it also works when the front end is not there."""
    title, text, home = escape(refusal.title), escape(refusal.text), escape(settings.public_url)
    style = ":root{color-scheme:light dark} body{font:17px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto}"
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{style} body{{padding:0 1rem}}</style>"
        f'<main><h1>{title}</h1><p>{text}</p><p><a href="{home}/">To the start page</a></p></main></html>'
    )
    return HTMLResponse(document, refusal.status, {**refusal.headers, "cache-control": "no-store"})


def _too_long(limit_bytes: int) -> Refusal:
    return Refusal(413, "This is too long", f"At most {limit_bytes // 1024} kB can be sent here.",
                   {"connection": "close"})


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
