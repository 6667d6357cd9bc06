"""A thread's earlier turns: bounded, whole, and without what belongs to the page."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from chatapp.agent import history
from chatapp.agent.bounds import message_bytes
from chatapp.agent.tools import Outcome
from chatapp.clients.code import CodeResult, Picture


def turn(number: int, size: int = 1_000) -> str:
    return history.dump([
        ModelRequest(parts=[UserPromptPart(f"question {number}")]),
        ModelResponse(parts=[ToolCallPart("search", {"query": "q"}, tool_call_id=f"c{number}")]),
        ModelRequest(parts=[ToolReturnPart("search", "x" * size, f"c{number}")]),
        ModelResponse(parts=[TextPart(f"answer {number}")]),
    ])


def questions(messages: list) -> list[str]:  # type: ignore[type-arg]
    return [str(part.content) for message in messages for part in message.parts if isinstance(part, UserPromptPart)]


def test_no_history_is_an_empty_one() -> None:
    assert history.load("") == history.load("[]") == history.load(history.join([])) == []


def test_turns_are_joined_in_order() -> None:
    messages = history.load(history.join([turn(1), "", turn(2)]))
    assert questions(messages) == ["question 1", "question 2"]
    assert len(messages) == 8


def test_the_oldest_turns_are_left_out_whole() -> None:
    messages = history.load(history.join([turn(n) for n in range(10)]), budget_bytes=4_000)
    assert questions(messages) == ["question 7", "question 8", "question 9"]
    assert isinstance(messages[0], ModelRequest)
    calls = {part.tool_call_id for m in messages for part in m.parts if isinstance(part, ToolCallPart)}
    returned = {part.tool_call_id for m in messages for part in m.parts if isinstance(part, ToolReturnPart)}
    assert calls == returned == {"c7", "c8", "c9"}


def test_of_a_last_turn_that_is_too_long_the_question_and_the_answer_stay() -> None:
    messages = history.load(history.join([turn(1), turn(2, size=50_000)]), budget_bytes=4_000)
    assert questions(messages) == ["question 1", "question 2"]
    assert isinstance(messages[-1], ModelResponse)
    assert messages[-1].text == "answer 2"
    assert sum(map(message_bytes, messages)) < 4_000


def test_a_huge_question_is_cut() -> None:
    messages = history.load(history.of_text("ä" * 100_000, "b"), budget_bytes=20_000)
    assert len(questions(messages)[0].encode()) < history.TEXT_BYTES + 10


def test_pictures_do_not_go_into_the_history() -> None:
    ran = CodeResult("out", None, (Picture("image/png", b"\xff\x00" * 50),), seconds=1, cost_usd=0)  # type: ignore[arg-type]
    part = ToolReturnPart("run_code", "out", "1", metadata=Outcome(code=ran))
    assert "metadata" not in history.dump([ModelRequest(parts=[part])]).replace('"metadata":null', "")


def test_a_stopped_turn_is_known_by_its_text() -> None:
    messages = history.load(history.of_text("Why?", ""))
    assert questions(messages) == ["Why?"]
    assert isinstance(messages[1], ModelResponse)
    assert messages[1].text == "…"


def test_something_else_is_no_history() -> None:
    with pytest.raises(ValidationError):
        history.load('[{"kind": "nonsense"}]')
