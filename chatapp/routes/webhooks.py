"""`POST /api/webhooks/polar`: verified, kept, acknowledged within milliseconds; a worker does the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from chatapp.billing import inbox
from chatapp.clients.polar import BadSignature
from chatapp.db import now
from chatapp.routes.guard import Refusal, read_body
from chatapp.services import Services

BODY_LIMIT_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


def routes(services: Services, received: Callable[[], None] | None = None) -> list[Route]:
    """The route; `received` wakes the worker that processes what came in, which else sees it in its next round."""

    async def polar(request: Request) -> Response:
        """202 for everything that Polar signed, known to us or not; 403 for anything else; 413 above 1 MB."""
        try:
            body = await read_body(request, BODY_LIMIT_BYTES)
            await asyncio.to_thread(inbox.receive, services.db, body, request.headers,
                                    services.settings.polar_webhook_secret, now())
        except Refusal as refusal:
            return PlainTextResponse(refusal.title, refusal.status, refusal.headers)
        except BadSignature as error:
            _log.warning("Refused a webhook: %s", error)
            return PlainTextResponse("The signature does not hold.", 403)
        if received is not None:
            received()
        return Response(status_code=202)

    return [Route("/api/webhooks/polar", polar, methods=["POST"])]
