"""How many tokens a model request can be, before it is sent.

A token of a byte-level encoding covers at least one byte, so the UTF-8 bytes of what is sent, plus an allowance for
the markers between messages, are never fewer than its tokens. That is three to four times too many. So everything up
to the last answer that the vendor measured is taken from its measurement, and only what is newer is counted in bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json

REQUEST_TOKENS = 64
"""Markers around a whole request, and what differs unseen between two requests: a date, a separator."""
MESSAGE_TOKENS = 16
PART_TOKENS = 16
TOOL_TOKENS = 64
BYTES_PER_TOKEN = 3
"""For estimates, on the careful side: English text has about four bytes in a token."""

MEASURED = "measured"
"""The key in a response's metadata under which a measurement says what it is good for."""


@dataclass(frozen=True)
class InputBound:
    """The size of a request's input in tokens.

    Attributes:
        at_most: never fewer than the vendor will count.
        likely: an estimate, for a request whose measurement never came; not above `at_most`.
    """

    at_most: int
    likely: int


def fixed_bytes(parameters: ModelRequestParameters) -> int:
    """The bytes of what accompanies every request: the instructions and the tools' descriptions."""
    instructions = sum(len(part.content.encode()) for part in parameters.instruction_parts or ())
    return instructions + sum(map(tool_bytes, (*parameters.function_tools, *parameters.output_tools)))


def tool_bytes(tool: ToolDefinition) -> int:
    """The bytes of one tool's description, with an allowance for how the vendor rewrites it."""
    described = len(to_json(tool.parameters_json_schema)) + len((tool.description or "").encode())
    return TOOL_TOKENS + len(tool.name) + described


def input_bound(messages: Sequence[ModelMessage], fixed: int, model: str) -> InputBound:
    """Bound a request's input.

    Args:
        messages: what is sent.
        fixed: `fixed_bytes` of the request's parameters.
        model: the model's name; another model's measurement counts other tokens.
    """
    total = REQUEST_TOKENS + fixed + sum(map(message_bytes, messages))
    counted = InputBound(total, math.ceil(total / BYTES_PER_TOKEN))
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, ModelResponse) and (mark := _measurement(message, model)) is not None:
            newer = sum(map(message_bytes, messages[index + 1:])) + max(0, fixed - mark)
            known = message.usage.total_tokens
            measured = InputBound(known + newer + REQUEST_TOKENS, known + math.ceil(newer / BYTES_PER_TOKEN))
            return measured if measured.at_most < counted.at_most else counted
    return counted


def measured_with(fixed: int, model: str) -> dict[str, object]:
    """The metadata that makes a measured response usable for the bounds of later requests."""
    return {MEASURED: {"model": model, "fixed_bytes": fixed}}


def message_bytes(message: ModelMessage) -> int:
    """The bytes of one message as the vendor gets to read it, with an allowance for its markers."""
    return MESSAGE_TOKENS + sum(PART_TOKENS + _part_bytes(part) for part in message.parts)


def output_estimate(response: ModelResponse) -> int:
    """The tokens of what was received of an unfinished answer."""
    return math.ceil(sum(_part_bytes(part) for part in response.parts) / BYTES_PER_TOKEN)


def _measurement(response: ModelResponse, model: str) -> int | None:
    """The fixed bytes that the response was measured with; None if it is no measurement of this model."""
    mark = (response.metadata or {}).get(MEASURED)
    usable = (
        isinstance(mark, dict) and mark.get("model") == model and isinstance(mark.get("fixed_bytes"), int)
        and response.state == "complete" and response.usage.input_tokens > 0
        and not response.usage.unmeasured_requests
    )
    return mark["fixed_bytes"] if usable and isinstance(mark, dict) else None


def _part_bytes(part: ModelRequestPart | ModelResponsePart) -> int:
    if isinstance(part, TextPart | ThinkingPart):
        return _bytes(part.content)
    if isinstance(part, ToolCallPart):
        return _bytes(part.tool_name) + len(part.tool_call_id) + _bytes(_arguments(part))
    if isinstance(part, ToolReturnPart):  # its metadata is the page's and is never sent
        return len(part.tool_name) + len(part.tool_call_id) + _bytes(part.model_response_str())
    return len(to_json(part, fallback=str))


def _arguments(part: ToolCallPart) -> str:
    return part.args if isinstance(part.args, str) else json.dumps(part.args, ensure_ascii=False)


def _bytes(text: str) -> int:
    """The bytes of a text as UTF-8; the bill of an answer depends on it, so that half a surrogate pair counts, too."""
    return len(text.encode("utf-8", "surrogatepass"))
