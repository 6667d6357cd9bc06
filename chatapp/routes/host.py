"""One address for a developer: whoever opens another name of this machine is sent to the right one.

Under another name (`127.0.0.1` for `localhost`) the page would load and then fail: cookies and the websocket belong to
the addresses in the settings alone. Behind a proxy the Host header says nothing, so only loopback names count.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chatapp.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OwnHost:
    """ASGI middleware that redirects a browser's navigation under another loopback name; all else passes untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._public_url = settings.public_url
        self._own = {urlsplit(url).netloc.lower() for url in (settings.public_url, settings.api_url)}
        self._local = urlsplit(settings.public_url).hostname in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 307 to the same path at the public address, or hand on."""
        if scope["type"] == "http" and self._is_foreign_navigation(scope):
            query = scope["query_string"].decode("latin-1")
            target = self._public_url + scope["path"] + (f"?{query}" if query else "")
            await RedirectResponse(target, 307)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_foreign_navigation(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        navigates = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        host = headers.get("host", "").lower()
        return self._local and navigates and host not in self._own and urlsplit(f"//{host}").hostname in LOOPBACK
