"""Client tokens, bound to the session: nobody reaches a state by its token alone.

Reflex addresses a state, and the socket that its news goes to, by a token that the browser chooses and that stands in
the websocket's URL. The gate empties a state before another session's event may see it; but work that goes on in the
background sends its news to whoever holds the token *now*, without any event. So the token that Reflex gets to see is
made of the browser's token and its session cookie: another session's token leads to another state.
"""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from chatapp.accounts import sessions
from chatapp.settings import Settings

EVENT_PATH = "/_event"


class BoundTokens:
    """ASGI middleware in front of Reflex's event endpoint."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Wrap `app`; the settings know the cookie's name."""
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replace `token` in the query of the event endpoint; hand on everything else as it is."""
        if scope["type"] in ("websocket", "http") and EVENT_PATH in scope["path"]:
            scope = {**scope, "query_string": self._bound(scope)}
        await self._app(scope, receive, send)

    def _bound(self, scope: Scope) -> bytes:
        cookies = "; ".join(Headers(scope=scope).getlist("cookie"))
        session = sessions.hash_in(cookies, self._settings) or ""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"))
        return urlencode([(key, bound(value, session) if key == "token" else value) for key, value in pairs]).encode()


def bound(token: str, session_hash: str) -> str:
    """The token under which Reflex keeps the state of this tab in this session; nobody can guess another's."""
    return hashlib.sha256(f"{session_hash}:{token}".encode()).hexdigest()[:40]
