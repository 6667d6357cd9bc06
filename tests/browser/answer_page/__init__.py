"""A page that holds answers and nothing else, bundled as the app's build does it, with a stream that tests script."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.browser.app import NODE_MODULES
from tests.conftest import ROOT, free_port

HERE = Path(__file__).parent
COMPONENTS = ROOT / "chatapp" / "components"
NODE = Path(sys.executable).parent / "node"
RED_SQUARE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)


def node_modules() -> Path:
    """The packages that the build of the app under test has installed: the fixture `app` comes first."""
    return NODE_MODULES


def bundle(folder: Path) -> Path:
    """Bundle page and components below `folder`; returns the folder to serve."""
    page = folder / "page"
    shutil.copytree(HERE, page, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(COMPONENTS, page / "components", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (page / "node_modules").symlink_to(node_modules())
    subprocess.run([NODE, HERE / "build.mjs", page, folder / "built"], check=True, timeout=120)
    return folder / "built"


@dataclass
class Connection:
    """What one request to a stream gets.

    Attributes:
        events: pairs of number and data, or strings that are sent as they are.
        status: anything but 200 is answered without events.
        hold: keep the connection open after the last event, until the server ends.
    """

    events: list[tuple[int, dict[str, Any]] | str] = field(default_factory=list)
    status: int = 200
    hold: bool = False
    gap_seconds: float = 0


@dataclass
class Server:
    """The page's server: `url`, the scripts of its streams by name, and the requests that these have got."""

    url: str
    scripts: dict[str, list[Connection]] = field(default_factory=dict)
    requests: dict[str, list[tuple[str | None, str | None]]] = field(default_factory=lambda: defaultdict(list))

    async def stream(self, request: Request) -> Response:
        """Answer with the next connection of the script; record (after, Last-Event-ID). The last one repeats."""
        name = request.path_params["name"]
        self.requests[name].append((request.query_params.get("after"), request.headers.get("last-event-id")))
        script = self.scripts[name]
        connection = script.pop(0) if len(script) > 1 else script[0]
        if connection.status != 200:
            return PlainTextResponse("no", connection.status)
        return StreamingResponse(self._events(connection), media_type="text/event-stream")

    async def _events(self, connection: Connection) -> AsyncIterator[str]:
        yield "retry: 20\n\n"
        for event in connection.events:
            if isinstance(event, str):
                yield event
            else:
                yield f"id: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
            await asyncio.sleep(connection.gap_seconds)
        while connection.hold:
            await asyncio.sleep(0.02)
            yield ":\n\n"


async def _figure(request: Request) -> Response:
    return Response(RED_SQUARE, media_type="image/png")


@contextmanager
def serving(built: Path) -> Iterator[Server]:
    """Serve the built page on a free port, in a thread of its own."""
    port = free_port()
    server = Server(f"http://localhost:{port}")
    app = Starlette(routes=[
        Route("/stream/{name}", server.stream),
        Route("/api/figures/{id}", _figure),
        Mount("/", StaticFiles(directory=built, html=True)),
    ])  # fmt: skip
    config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1)
    process = uvicorn.Server(config)
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not process.started:
        if time.monotonic() > deadline:
            raise TimeoutError("The page's server did not start within 10 s.")
        time.sleep(0.01)
    try:
        yield server
    finally:
        process.should_exit = True
        thread.join(10)
