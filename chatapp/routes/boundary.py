"""The one boundary of the HTTP routes: what none of them expected is logged under an id, and that id is shown."""

from __future__ import annotations

import logging
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatapp.routes.guard import Refusal, refusal_page
from chatapp.settings import Settings

_log = logging.getLogger(__name__)


class Boundary:
    """ASGI middleware that answers 500 with an error id: a page to a browser's navigation, JSON to anything else.

    An answer that has begun is broken off: its reader sees that it is not whole, and asks again.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if isinstance(error, ClientDisconnect) and not begun:
                return  # whoever sent the request has gone away: nobody to answer, and nothing of ours is wrong
            error_id = uuid4().hex[:8]
            _log.error("%s %s failed (error %s)", scope["method"], scope["path"], error_id, exc_info=error)
            if begun:
                raise
            await self._answer(scope, error_id)(scope, receive, send)

    def _answer(self, scope: Scope, error_id: str) -> Response:
        title, text = "Something went wrong on our side", f"Go back and try again (error {error_id})."
        if Headers(scope=scope).get("sec-fetch-mode") == "navigate":
            return refusal_page(Refusal(500, title, text), self._settings)
        return JSONResponse({"error": f"{title}. {text}"}, 500, {"Cache-Control": "no-store"})
