"""One address for people: whoever opens another name of this server is sent to the right one.

Under another name (`127.0.0.1` for `localhost`, an IP address, a forgotten domain) the page would load and then fail:
cookies and the websocket belong to the addresses in the settings alone.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chatapp.settings import Settings


class OwnHost:
    """ASGI middleware that redirects a browser's navigation under a foreign host; all else passes untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._public_url = settings.public_url
        self._own = {urlsplit(url).netloc.lower() for url in (settings.public_url, settings.api_url)}

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
        return navigates and headers.get("host", "").lower() not in self._own
