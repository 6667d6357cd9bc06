"""A model's endpoint without a network: answers, and errors of the connection, as a test lists them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx2

Line: TypeAlias = dict[str, Any] | Exception
"""One event of a stream, or how the connection ends."""
USED = {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940}


def says(text: str, finish: str | None = None) -> Line:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}]}


MEASURED: Line = {"choices": [], "usage": USED}
WHOLE = [says("Yes."), says("", "stop"), MEASURED]


@dataclass
class Answering(httpx2.AsyncByteStream):
    """A stream of events that may end in an error of the connection."""

    lines: list[Line]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "emulated-model"}
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield f"data: {json.dumps({**head, **line})}\n\n".encode()
        yield b"data: [DONE]\n\n"


@dataclass
class Wire(httpx2.AsyncBaseTransport):
    """The way to the model's endpoint: each request gets the next of these answers, or error of the connection."""

    answers: Iterator[list[Line] | httpx2.Response | Exception]
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(json.loads(await request.aread()))
        given = next(self.answers)
        if isinstance(given, Exception):
            raise given
        if isinstance(given, httpx2.Response):
            return given
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Answering(given))
