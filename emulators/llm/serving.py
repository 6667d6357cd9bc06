"""Sending an answer: whole or as a stream, at a reader's pace, counted token by token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from emulators.llm import wire
from emulators.llm.model import Turn
from emulators.llm.tokens import count, split

_CHUNKS_PER_SECOND = 25
_LONGEST_CHUNK = 10
"""In tokens: at a high pace there are more chunks, not longer ones."""

Record = Callable[[int, str], None]
"""Told once how many completion tokens were sent, and how the answer ended."""


class Reply:
    """One answer on its way. Tokens count as produced when they are handed to the connection.

    Attributes:
        sent: when chunks of a stream were handed over (Unix seconds), and how many tokens that were until then.
    """

    def __init__(self, request: wire.ChatRequest, turn: Turn, prompt: int, created: int, pace: float) -> None:
        self._request, self._turn, self._prompt, self._pace = request, turn, prompt, pace
        text = turn.call.arguments if turn.call else turn.text
        self._overhead = count(turn.call.name) if turn.call else 0
        tokens = split(text)
        allowed = len(tokens) if request.limit is None else max(0, request.limit - self._overhead)
        self._tokens = tokens[:allowed]
        self.sent: list[tuple[float, int]] = []
        self._finish = "length" if len(tokens) > allowed else ("tool_calls" if turn.call else "stop")
        self._call_id = f"call_{uuid4().hex[:24]}"
        self.id = f"chatcmpl-{uuid4().hex}"
        self._head = {"id": self.id, "created": created, "model": request.model, "system_fingerprint": "fp_emulated"}

    async def whole(self, record: Record) -> Response:
        """Wait as long as producing the answer takes, and send it in one piece."""
        produced = self._overhead + len(self._tokens)
        if self._pace:
            await asyncio.sleep(produced / self._pace)
        text = "".join(self._tokens)
        message: dict[str, Any] = {"role": "assistant", "content": None if self._turn.call else text, "refusal": None}
        if self._turn.call:
            function = {"name": self._turn.call.name, "arguments": text}
            message["tool_calls"] = [{"id": self._call_id, "type": "function", "function": function}]
        record(produced, self._finish)
        used = wire.usage(self._prompt, produced)
        return JSONResponse(wire.completion(self._head, message, self._finish, used))

    def stream(self, record: Record) -> Response:
        """Send it as server-sent events; if the client leaves, stop and record what it got."""
        return _Stream(self._events(record))

    async def _events(self, record: Record) -> AsyncIterator[bytes]:
        produced, finish = 0, "cut"
        try:
            yield wire.chunk(self._head, self._opening(), None, None)
            produced = self._overhead
            step = min(max(1, round(self._pace / _CHUNKS_PER_SECOND)), _LONGEST_CHUNK) if self._pace else _LONGEST_CHUNK
            started = time.monotonic()
            for at in range(0, len(self._tokens), step):
                piece = self._tokens[at : at + step]
                if self._pace:
                    await asyncio.sleep(max(0.0, started + (at + len(piece)) / self._pace - time.monotonic()))
                elif at % 256 == 0:
                    await asyncio.sleep(0)
                produced += len(piece)
                self.sent.append((time.time(), produced))
                yield wire.chunk(self._head, self._delta("".join(piece)), None, None)
            yield wire.chunk(self._head, {}, self._finish, None)
            if self._request.include_usage:
                yield wire.chunk(self._head, None, None, wire.usage(self._prompt, produced))
            finish = self._finish
            yield b"data: [DONE]\n\n"
        finally:
            record(produced, finish)

    def _opening(self) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant", "content": None if self._turn.call else "", "refusal": None}
        if self._turn.call:
            function = {"name": self._turn.call.name, "arguments": ""}
            delta["tool_calls"] = [{"index": 0, "id": self._call_id, "type": "function", "function": function}]
        return delta

    def _delta(self, text: str) -> dict[str, Any]:
        if self._turn.call:
            return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return {"content": text}


class _Stream(StreamingResponse):
    """A streaming response that closes its iterator as soon as the connection is gone, not when it is collected."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; whatever happens, their generator has run its `finally` when this returns."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]  # it is the async generator given above
            await super().__call__(scope, receive, send)
