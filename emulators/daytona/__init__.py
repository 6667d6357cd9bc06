"""Daytona's stand-in: the sandbox API at `/daytona/api` and the toolbox in each sandbox at `/daytona/toolbox`.

It covers what the SDK sends for: create, get, list (by labels), start, stop, delete, and code-run. Code is executed by
Monty (see `execution`), with a small matplotlib whose charts come back as Daytona's do. There is no event socket: the
SDK then polls. `GET /daytona/_emulator/log` lists all sandboxes that ever were and all programs that were accepted
(`{"sandboxes": […], "runs": […]}`, oldest first); a run's `outcome` is `under way`, `exit 0`, `timed out` or `cut`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulators.daytona.execution import TimedOut, execute
from emulators.daytona.sandboxes import Sandboxes

if TYPE_CHECKING:
    from emulators.world import World

_Endpoint = Callable[[Request], Awaitable[Response]]


def routes(world: World) -> list[BaseRoute]:
    """The two APIs and the emulator's own log."""
    daytona = _Daytona(world)
    guarded = daytona.guarded
    return [
        Route("/api/config", guarded(daytona.config), methods=["GET"]),
        Route("/api/sandbox", guarded(daytona.create), methods=["POST"]),
        Route("/api/sandbox", guarded(daytona.list_all), methods=["GET"]),
        Route("/api/sandbox/{id}", guarded(daytona.get), methods=["GET"]),
        Route("/api/sandbox/{id}", guarded(daytona.delete), methods=["DELETE"]),
        Route("/api/sandbox/{id}/toolbox-proxy-url", guarded(daytona.toolbox_proxy_url), methods=["GET"]),
        Route("/api/sandbox/{id}/{verb:str}", guarded(daytona.start_or_stop), methods=["POST"]),
        Route("/toolbox/{id}/process/code-run", guarded(daytona.code_run), methods=["POST"]),
        Route("/_emulator/log", daytona.log_rows, methods=["GET"]),
    ]


class _Daytona:
    """The endpoints over one table of sandboxes."""

    def __init__(self, world: World) -> None:
        self._key = world.config.keys["daytona"]
        self._toolbox_url = f"{world.config.url}/daytona/toolbox"
        self._boxes = Sandboxes(world.store, world.clock, self._toolbox_url)

    def guarded(self, endpoint: _Endpoint) -> _Endpoint:
        """The endpoint, behind the check of the key, of the JSON, and of the sandbox's existence."""

        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not compare_digest(given.encode(), f"Bearer {self._key}".encode()):
                return _error(request, 401, "Invalid credentials", "UNAUTHORIZED")
            if "id" in request.path_params and self._boxes.get(request.path_params["id"]) is None:
                message = f"Sandbox with ID or name {request.path_params['id']} not found"
                return _error(request, 404, message, "NOT_FOUND")
            try:
                return await endpoint(request)
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as problem:
                return _error(request, 400, f"Malformed request: {problem}", "BAD_REQUEST")

        return checked

    async def config(self, _: Request) -> Response:
        """`GET /api/config`, in so far as the SDK reads it."""
        return JSONResponse({"version": "emulated", "proxyToolboxUrl": self._toolbox_url, "analyticsApiUrl": None})

    async def create(self, request: Request) -> Response:
        """`POST /api/sandbox`."""
        return JSONResponse(self._boxes.create(await request.json()))

    async def list_all(self, request: Request) -> Response:
        """`GET /api/sandbox?labels={…}&limit=…&cursor=…`."""
        query = request.query_params
        boxes = self._boxes.all(json.loads(query.get("labels", "{}")))
        if states := query.getlist("states"):
            boxes = [box for box in boxes if box["state"] in states]
        start, limit = int(query.get("cursor", "0")), int(query.get("limit", "100"))
        more = start + limit < len(boxes)
        return JSONResponse({"items": boxes[start : start + limit], "nextCursor": str(start + limit) if more else None})

    async def get(self, request: Request) -> Response:
        """`GET /api/sandbox/{id}`."""
        return JSONResponse(self._box(request))

    async def delete(self, request: Request) -> Response:
        """`DELETE /api/sandbox/{id}`."""
        box = self._box(request)
        self._boxes.set_state(box["id"], "destroyed")
        return JSONResponse({**box, "state": "destroyed", "desiredState": "destroyed"})

    async def start_or_stop(self, request: Request) -> Response:
        """`POST /api/sandbox/{id}/start` and `/stop`."""
        states = {"start": "started", "stop": "stopped"}
        if (state := states.get(request.path_params["verb"])) is None:
            return _error(request, 404, "Not found", "NOT_FOUND")
        box = self._box(request)
        self._boxes.set_state(box["id"], state)
        return JSONResponse({**box, "state": state, "desiredState": state})

    async def toolbox_proxy_url(self, _: Request) -> Response:
        """`GET /api/sandbox/{id}/toolbox-proxy-url`."""
        return JSONResponse({"url": self._toolbox_url})

    async def code_run(self, request: Request) -> Response:
        """`POST /toolbox/{id}/process/code-run`."""
        box, wanted = self._box(request), await request.json()
        if box["state"] != "started":
            return _error(request, 409, "Sandbox is not running", "SANDBOX_NOT_RUNNING")
        if wanted.get("language", "python") != "python":
            return _error(request, 400, "Only Python is emulated", "BAD_REQUEST")
        code, run_id = wanted["code"], self._boxes.begin_run(box["id"])
        try:
            run = await asyncio.to_thread(execute, code, wanted.get("timeout"))
        except TimedOut:
            self._boxes.end_run(run_id, "timed out", float(wanted.get("timeout") or 0))
            body = {"statusCode": 408, "message": "command execution timeout", "code": "PROCESS_EXECUTION_TIMEOUT"}
            return JSONResponse({**body, "source": "DAYTONA_DAEMON"}, status_code=408)
        self._boxes.end_run(run_id, f"exit {run.exit_code}", run.seconds)
        return JSONResponse({"exitCode": run.exit_code, "result": run.result, "artifacts": {"charts": run.charts}})

    async def log_rows(self, _: Request) -> Response:
        """`GET /_emulator/log`."""
        return JSONResponse({"sandboxes": self._boxes.rows(), "runs": self._boxes.runs()})

    def _box(self, request: Request) -> dict[str, Any]:
        """The sandbox that the path names; `guarded` has seen that it exists."""
        box = self._boxes.get(request.path_params["id"])
        if box is None:
            raise KeyError("the sandbox vanished in the meantime")
        return box


def _error(request: Request, status: int, message: str, code: str) -> Response:
    """Daytona's error envelope."""
    source = "DAYTONA_DAEMON" if "/toolbox/" in request.url.path else "DAYTONA_API"
    body = {"statusCode": status, "message": message, "code": code, "source": source, "path": request.url.path}
    return JSONResponse(body, status_code=status)
