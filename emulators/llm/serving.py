"""Sending an answer: whole or as a stream, at a reader's pace, counted token by token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import groupby
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

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
        self._overhead = sum(count(call.name) for call in turn.calls)
        texts = [call.arguments for call in turn.calls] or [turn.text]
        tokens = [(part, token) for part, text in enumerate(texts) for token in split(text)]
        allowed = len(tokens) if request.limit is None else max(0, request.limit - self._overhead)
        self._tokens = tokens[:allowed]
        self._produced, self._ended = 0, "cut"
        self.sent: list[tuple[float, int]] = []
        self._finish = "length" if len(tokens) > allowed else ("tool_calls" if turn.calls else "stop")
        self._call_ids = [f"call_{uuid4().hex[:24]}" for _ in turn.calls]
        self.id = f"chatcmpl-{uuid4().hex}"
        self._head = {"id": self.id, "created": created, "model": request.model, "system_fingerprint": "fp_emulated"}

    async def whole(self, record: Record) -> Response:
        """Wait as long as producing the answer takes, and send it in one piece."""
        produced = self._overhead + len(self._tokens)
        if self._pace:
            await asyncio.sleep(produced / self._pace)
        message: dict[str, Any] = {"role": "assistant", "content": self._text(0), "refusal": None}
        if self._turn.calls:
            message |= {"content": None, "tool_calls": self._calls(self._text)}
        record(produced, self._finish)
        used = wire.usage(self._prompt, produced)
        return JSONResponse(wire.completion(self._head, message, self._finish, used))

    def stream(self, record: Record) -> Response:
        """Send it as server-sent events; if the client leaves, stop and record what it got."""
        return _Stream(self._events(), ended=lambda: record(self._produced, self._ended), breaks=self._turn.breaks)

    async def _events(self) -> AsyncIterator[bytes]:
        yield wire.chunk(self._head, self._opening(), None, None)
        self._produced = self._overhead
        started = time.monotonic()
        for part, piece in self._pieces():
            after = self._produced + len(piece)
            if self._pace:
                await asyncio.sleep(max(0.0, started + (after - self._overhead) / self._pace - time.monotonic()))
            elif self._produced % 256 < _LONGEST_CHUNK:
                await asyncio.sleep(0)
            self._produced = after
            self.sent.append((time.time(), after - self._overhead))
            yield wire.chunk(self._head, self._delta(part, "".join(piece)), None, None)
            if self._turn.breaks and after >= len(self._tokens) // 2:
                return
        yield wire.chunk(self._head, {}, self._finish, None)
        if self._request.include_usage:
            yield wire.chunk(self._head, None, None, wire.usage(self._prompt, self._produced))
        self._ended = self._finish
        yield b"data: [DONE]\n\n"

    def _pieces(self) -> Iterator[tuple[int, list[str]]]:
        """The answer in chunks: of which text, or of which call's arguments, and the tokens."""
        step = min(max(1, round(self._pace / _CHUNKS_PER_SECOND)), _LONGEST_CHUNK) if self._pace else _LONGEST_CHUNK
        for part, group in groupby(self._tokens, key=lambda token: token[0]):
            tokens = [token for _, token in group]
            for at in range(0, len(tokens), step):
                yield part, tokens[at : at + step]

    def _text(self, part: int) -> str:
        return "".join(token for index, token in self._tokens if index == part)

    def _calls(self, arguments: Callable[[int], str]) -> list[dict[str, Any]]:
        return [
            {"id": self._call_ids[at], "type": "function", "function": {"name": call.name, "arguments": arguments(at)}}
            for at, call in enumerate(self._turn.calls)
        ]

    def _opening(self) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant", "content": None if self._turn.calls else "", "refusal": None}
        if self._turn.calls:
            delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(self._calls(lambda _: ""))]
        return delta

    def _delta(self, part: int, text: str) -> dict[str, Any]:
        if self._turn.calls:
            return {"tool_calls": [{"index": part, "function": {"arguments": text}}]}
        return {"content": text}


class _Stream(StreamingResponse):
    """A streaming response that closes its iterator as soon as the connection is gone, not when it is collected."""

    def __init__(self, events: AsyncIterator[bytes], *, ended: Callable[[], None], breaks: bool) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._ended, self._breaks = ended, breaks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; whatever happens, `ended` has been called when this returns, even if none was sent."""

        async def send_without_end(message: Message) -> None:
            if message["type"] == "http.response.start" or message.get("more_body"):
                await send(message)  # a response that never ends makes the server close the connection

        try:
            async with aclosing(self.body_iterator):  # type: ignore[type-var]  # it is the async generator given above
                await super().__call__(scope, receive, send_without_end if self._breaks else send)
        finally:
            self._ended()
