"""Serving ASGI applications on free loopback ports, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from emulators.config import Config, from_environment


@dataclass(frozen=True)
class Place:
    """A bound socket and the address that it will answer at."""

    socket: socket.socket
    url: str


def place() -> Place:
    """Bind a free port."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return Place(bound, f"http://127.0.0.1:{bound.getsockname()[1]}")


@asynccontextmanager
async def serving(app: ASGIApp, at: Place) -> AsyncIterator[str]:
    """Serve `app` at the place, as `python -m emulators` does, and stop afterwards."""
    config = uvicorn.Config(app, http="h11", log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[at.socket]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield at.url
    finally:
        server.should_exit = True
        await task
        at.socket.close()


def configuration(url: str, app_url: str, database: Path) -> Config:
    """The development configuration at other addresses, impatient with the app's hook, generous with mail."""
    return replace(
        from_environment(),
        url=url,
        app_url=app_url,
        site_url="",
        database=database,
        hook_timeout_seconds=2.0,
        hook_backoff_seconds=0.01,
        resend_requests_per_second=1000,
    )
