"""A thread's earlier turns as the model gets to read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from chatapp.agent.bounds import message_bytes
from chatapp.text import storable_data

BUDGET_BYTES = 120_000
"""How much of a thread goes into a request: some 30,000 tokens. Older turns are left out."""
TEXT_BYTES = 8_000
"""How much is kept of a question and of an answer where even the latest turn is too long."""


def load(history_json: str, *, budget_bytes: int = BUDGET_BYTES) -> list[ModelMessage]:
    """Read what `join` wrote and keep the latest turns that fit. A tool's call and its result stay together.

    Raises:
        pydantic.ValidationError: this is not a history.
    """
    turns = _turns(ModelMessagesTypeAdapter.validate_json(history_json or "[]"))
    kept: list[ModelMessage] = []
    left = budget_bytes
    for turn in reversed(turns):
        size = sum(map(message_bytes, turn))
        if size > left and not kept:
            turn = _gist(turn)
            size = sum(map(message_bytes, turn))
        if size > left:
            break
        kept = [*turn, *kept]
        left -= size
    return kept


def dump(messages: Sequence[ModelMessage]) -> str:
    """Write a turn's messages, storable. What belongs to the page only, such as pictures, is left out."""
    data = ModelMessagesTypeAdapter.dump_python([_without_metadata(message) for message in messages], mode="json")
    return json.dumps(storable_data(data), ensure_ascii=False, separators=(",", ":"))


def storable_response(response: ModelResponse) -> ModelResponse:
    """A model's answer that can be kept, sent back to it and acted upon, whatever characters it came with."""
    response = replace(response, parts=[_with_storable_arguments(part) for part in response.parts])
    data = ModelMessagesTypeAdapter.dump_python([response], mode="json")
    clean = storable_data(data)
    if clean == data:
        return response
    (mended,) = ModelMessagesTypeAdapter.validate_python(clean)
    assert isinstance(mended, ModelResponse)
    return mended


def _with_storable_arguments(part: ModelResponsePart) -> ModelResponsePart:
    """A call whose arguments are JSON in a text: there a bad character may stand as an escape."""
    if not isinstance(part, ToolCallPart) or not isinstance(part.args, str):
        return part
    try:
        arguments = json.loads(part.args)
    except (ValueError, RecursionError):  # the model is told that this is no JSON
        return part
    clean = storable_data(arguments)
    return part if clean == arguments else replace(part, args=json.dumps(clean))


def join(histories: Sequence[str]) -> str:
    """Put several turns' histories, oldest first, together; empty ones are skipped."""
    return json.dumps([message for history in histories if history for message in json.loads(history)])


def of_text(question: str, answer: str) -> str:
    """The history of a turn that was stopped or failed: the question, and as much of an answer as there was."""
    return dump([ModelRequest(parts=[UserPromptPart(question)]), ModelResponse(parts=[TextPart(answer or "…")])])


def _turns(messages: Sequence[ModelMessage]) -> list[list[ModelMessage]]:
    """Split at each question."""
    turns: list[list[ModelMessage]] = []
    for message in messages:
        asks = isinstance(message, ModelRequest) and any(isinstance(part, UserPromptPart) for part in message.parts)
        if asks or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _gist(turn: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The question and the answer's text without the work in between, each cut to TEXT_BYTES."""
    asked = "\n".join(
        part.content if isinstance(part.content, str) else "" for message in turn if isinstance(message, ModelRequest)
        for part in message.parts if isinstance(part, UserPromptPart)
    )
    said = "\n\n".join(message.text for message in turn if isinstance(message, ModelResponse) and message.text)
    return [ModelRequest(parts=[UserPromptPart(_cut(asked))]), ModelResponse(parts=[TextPart(_cut(said) or "…")])]


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= TEXT_BYTES else data[:TEXT_BYTES].decode(errors="ignore") + " …"


def _without_metadata(message: ModelMessage) -> ModelMessage:
    if not isinstance(message, ModelRequest):
        return message
    return replace(message, parts=[
        replace(part, metadata=None) if isinstance(part, ToolReturnPart) else part for part in message.parts
    ])
