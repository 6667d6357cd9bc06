"""The shapes of OpenAI's Chat Completions API: what a request must be, and what its answers look like."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

_ROLES = ("system", "developer", "user", "assistant", "tool")


class BadRequest(Exception):
    """The request is malformed: answered with 400 and `message`, naming `param`."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message, self.param = message, param


@dataclass(frozen=True)
class ChatRequest:
    """A checked request. `limit` is the most completion tokens allowed, or None."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    tool_choice: object
    stream: bool
    include_usage: bool
    limit: int | None


def parse(body: bytes) -> ChatRequest:
    """Check a request's body.

    Raises:
        BadRequest: something that the real API refuses, too.
    """
    try:
        data = json.loads(body)
    except ValueError:
        raise BadRequest("We could not parse the JSON body of your request.", "body") from None
    if not isinstance(data, dict) or not isinstance(data.get("model"), str):
        raise BadRequest("you must provide a model parameter", "model")
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("Invalid 'messages': expected an array with at least one message.", "messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise BadRequest(f"Invalid role: supported are {', '.join(_ROLES)}.", f"messages[{at}].role")
    limit = data.get("max_completion_tokens", data.get("max_tokens"))
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise BadRequest("Invalid 'max_tokens': expected an integer of at least 1.", "max_tokens")
    return ChatRequest(
        model=data["model"],
        messages=messages,
        tools=data.get("tools") or [],
        tool_choice=data.get("tool_choice", "auto"),
        stream=bool(data.get("stream")),
        include_usage=bool((data.get("stream_options") or {}).get("include_usage")),
        limit=limit,
    )


def error(status: int, message: str, code: str | None, param: str | None = None) -> JSONResponse:
    """An error answer."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    return JSONResponse(body, status_code=status)


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """The usage object of an answer."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }


def completion(head: dict[str, Any], message: dict[str, Any], finish: str, used: dict[str, Any]) -> dict[str, Any]:
    """A whole answer; `head` has its id, created and model."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": used}


def chunk(head: dict[str, Any], delta: dict[str, Any] | None, finish: str | None, used: dict[str, Any] | None) -> bytes:
    """One server-sent event of a stream; without a delta it is the last one, which has the usage and no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    body: dict[str, Any] = {**head, "object": "chat.completion.chunk", "choices": choices}
    if delta is None:
        body["usage"] = used
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
