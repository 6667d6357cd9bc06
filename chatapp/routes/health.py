"""`GET /api/health`: for a load balancer and for humans."""

from __future__ import annotations

import asyncio

from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatapp.services import Services


def routes(services: Services) -> list[Route]:
    """The route, bound to the services."""

    def ask_database() -> None:
        with services.db.reading() as session:
            session.connection().execute(text("SELECT 1"))

    async def health(_: Request) -> Response:
        """200 while the database answers, else 503. The vendors' health is not ours: nothing here waits for them."""
        try:
            await asyncio.wait_for(asyncio.to_thread(ask_database), timeout=5)
        except Exception as error:
            return JSONResponse({"status": "database unavailable", "error": type(error).__name__}, status_code=503)
        return JSONResponse({"status": "ok"})

    return [Route("/api/health", health, methods=["GET"])]
