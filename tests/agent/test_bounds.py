"""How a request's input is bounded before it is sent."""

from __future__ import annotations

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from chatapp.agent.bounds import fixed_bytes, input_bound, measured_with, message_bytes

LONG = "Ω" * 3_000


def asked(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def answered(text: str, *, model: str = "m", fixed: int = 100, tokens: int = 500, **state: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)], usage=RequestUsage(input_tokens=tokens - 10, output_tokens=10),
                         metadata=dict(measured_with(fixed, model)), **state)  # type: ignore[arg-type]


def test_without_a_measurement_every_byte_counts_as_a_token() -> None:
    bound = input_bound([asked(LONG)], 100, "m")
    assert 6_100 <= bound.at_most <= 6_300, "two bytes a character, what is fixed, and a margin"
    assert bound.likely == -(-bound.at_most // 3)


def test_up_to_the_last_measured_answer_the_vendor_has_counted() -> None:
    bound = input_bound([asked(LONG), answered("Yes."), asked("Why?")], 100, "m")
    assert 500 < bound.likely < bound.at_most < 700


def test_another_models_measurement_does_not_count() -> None:
    assert input_bound([asked(LONG), answered("Yes.", model="other"), asked("Why?")], 100, "m").at_most > 6_000


def test_an_interrupted_answer_is_no_measurement() -> None:
    messages: list[ModelMessage] = [asked(LONG), answered("Yes.", state="interrupted"), asked("Why?")]
    assert input_bound(messages, 100, "m").at_most > 6_000


def test_what_became_longer_since_the_measurement_is_added() -> None:
    messages: list[ModelMessage] = [asked(LONG), answered("Yes."), asked("Why?")]
    assert input_bound(messages, 1_100, "m").at_most == input_bound(messages, 100, "m").at_most + 1_000


def test_a_measurement_of_more_than_is_sent_is_not_used() -> None:
    messages: list[ModelMessage] = [answered("Yes.", tokens=90_000), asked("Why?")]
    assert input_bound(messages, 100, "m").at_most < 1_000


def test_what_only_the_page_gets_is_not_counted() -> None:
    plain = ModelRequest(parts=[ToolReturnPart("search", "found", "1")])
    rich = ModelRequest(parts=[ToolReturnPart("search", "found", "1", metadata={"picture": b"x" * 9_000})])
    assert message_bytes(rich) == message_bytes(plain)


def test_a_tool_calls_arguments_are_counted() -> None:
    call = ModelResponse(parts=[ToolCallPart("run_code", {"code": "x" * 2_000})])
    assert 2_000 < message_bytes(call) < 2_200


def test_tools_are_counted_with_their_schema() -> None:
    tool = ToolDefinition(name="t", description="d" * 500, parameters_json_schema={"type": "object"})
    assert fixed_bytes(ModelRequestParameters(function_tools=[tool])) > 500
