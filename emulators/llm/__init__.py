"""A language model's stand-in with OpenAI's Chat Completions API, at `/llm/v1`.

It searches, computes and answers out of what its tools bring (see `model`), counts its tokens honestly with a simple
tokenizer of its own (see `tokens`), and keeps a log of all requests to compare a ledger with. Any model name is served.

Beside the API: `GET /llm/_emulator/log` (`{"requests": […], "under_way": 0}`: all requests that were accepted and have
ended, oldest first, and how many have not), and `POST /llm/_emulator/pace` with `{"tokens_per_second": 50}`; 0 is
without delay. The pace starts as EMULATED_TOKENS_PER_SECOND, or 50; a request's
header `x-emulated-tokens-per-second` overrides it. `GET /llm/_emulator/sent` tells when each chunk of the last streams
was sent.
"""

from __future__ import annotations

import json
import os
from collections import deque
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulators.llm import conversation as reading
from emulators.llm import wire
from emulators.llm.log import Log
from emulators.llm.model import decide
from emulators.llm.serving import Reply
from emulators.llm.tokens import count_prompt

if TYPE_CHECKING:
    from emulators.world import World

MODELS = ("emulated-model",)
DEFAULT_PACE = 50.0
_STREAMS_KEPT = 20


def routes(world: World) -> list[BaseRoute]:
    """The API and the emulator's own two addresses."""
    model = _Model(world)
    return [
        Route("/v1/chat/completions", model.complete, methods=["POST"]),
        Route("/v1/models", model.models, methods=["GET"]),
        Route("/_emulator/log", model.log_rows, methods=["GET"]),
        Route("/_emulator/sent", model.sent, methods=["GET"]),
        Route("/_emulator/pace", model.set_pace, methods=["POST"]),
    ]


class _Model:
    """The endpoints, with the pace and the log that they share."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = Log(world.store)
        self._streams: deque[Reply] = deque(maxlen=_STREAMS_KEPT)
        self._pace = float(os.environ.get("EMULATED_TOKENS_PER_SECOND") or DEFAULT_PACE)

    async def complete(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        if refusal := self._refuse(request):
            return refusal
        try:
            asked = wire.parse(await request.body())
            pace = _pace(request.headers.get("x-emulated-tokens-per-second"), self._pace)
            turn = decide(asked.messages, asked.tools, asked.tool_choice)
        except wire.BadRequest as bad:
            return wire.error(400, bad.message, None, bad.param)
        prompt = count_prompt(asked.messages, asked.tools)
        now = self._world.clock.now()
        reply = Reply(asked, turn, prompt, int(now.timestamp()), pace)
        self._log.begin(reply.id, now, asked.model, question=reading.read(asked.messages).question,
                        streamed=asked.stream, prompt=prompt)
        record = partial(self._log.end, reply.id)
        if not asked.stream:
            return await reply.whole(record)
        self._streams.append(reply)
        return reply.stream(record)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        if refusal := self._refuse(request):
            return refusal
        created = 1_700_000_000
        data = [{"id": name, "object": "model", "created": created, "owned_by": "emulators"} for name in MODELS]
        return JSONResponse({"object": "list", "data": data})

    async def log_rows(self, _: Request) -> Response:
        """`GET /_emulator/log`."""
        return JSONResponse({"requests": self._log.rows(), "under_way": self._log.under_way()})

    async def sent(self, _: Request) -> Response:
        """`GET /_emulator/sent`: `{"streams": [{"id", "chunks": [[Unix seconds, tokens until then], …]}, …]}`."""
        return JSONResponse({"streams": [{"id": reply.id, "chunks": reply.sent} for reply in self._streams]})

    async def set_pace(self, request: Request) -> Response:
        """`POST /_emulator/pace`."""
        try:
            self._pace = _pace((await request.json())["tokens_per_second"], self._pace)
        except (json.JSONDecodeError, KeyError, TypeError, wire.BadRequest):
            return JSONResponse({"error": "tokens_per_second must be a number of at least 0"}, status_code=400)
        return JSONResponse({"tokens_per_second": self._pace})

    def _refuse(self, request: Request) -> Response | None:
        """OpenAI's 401 for a missing or wrong key."""
        expected = f"Bearer {self._world.config.keys['llm']}"
        given = request.headers.get("authorization", "")
        if compare_digest(given.encode(), expected.encode()):
            return None
        message = "Incorrect API key provided." if given else "You didn't provide an API key."
        return wire.error(401, message, "invalid_api_key")


def _pace(value: object, default: float) -> float:
    """A pace in tokens per second, from a header or a body; None is the default."""
    if value is None:
        return default
    try:
        pace = float(value)  # type: ignore[arg-type]  # whatever is no number raises, which is caught
    except (TypeError, ValueError):
        raise wire.BadRequest("the pace must be a number", "x-emulated-tokens-per-second") from None
    if not 0 <= pace <= 1e6:
        raise wire.BadRequest("the pace must be between 0 and 1000000", "x-emulated-tokens-per-second")
    return pace
