"""What is charged when: the rules of docs/billing.md that no other test holds, with the real SDK on a made-up wire.

`exact` is a measurement, `customer` and `platform` is who bears the row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

import httpx2
import pytest
from pydantic_ai.exceptions import ModelConnectionError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo

from chatapp.agent.errors import AnswerFailed
from chatapp.agent.events import Finished, SearchFinished
from chatapp.billing.catalog import FREE
from chatapp.chat.reply import MAX_TURN_SECONDS, TOO_LONG
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.llm import build_model, close_model
from chatapp.clients.valyu import SearchResult
from chatapp.models import Balance, Hold, Turn, UsageEvent
from tests.chat.conftest import MakeRoom, Pen, make_room, make_sqlite_room, until

from .conftest import INPUT_USD, OUTPUT_USD, SOURCES, Desk, Library, Piece, calls, results, scripted
from .wire import MEASURED, WHOLE, Line, Wire, says

__all__ = ["make_room", "make_sqlite_room"]  # fixtures of the chat's tests, which run turns in the background

WORDS = "It depends on the house. " * 12
"""300 bytes: 100 tokens as an estimate."""


async def ask(desk: Desk, *answers: list[Line] | httpx2.Response | Exception) -> tuple[list[UsageEvent], bool]:
    """Ask over a wire with these answers; the rows, and whether the person got an answer. All answers are used up."""
    wire = Wire(iter(answers))
    model = build_model(desk.settings, httpx2.AsyncClient(transport=wire))
    try:
        await desk.ask(model)
        answered = True
    except AnswerFailed:
        answered = False
    finally:
        await close_model(model)
    assert len(wire.sent) == len(answers)
    desk.assert_settled()
    return desk.ledger(), answered


def refusal(status: int, code: str) -> httpx2.Response:
    body = {"error": {"message": "The response was filtered.", "type": "invalid_request_error", "code": code}}
    return httpx2.Response(status, json=body)


@pytest.mark.parametrize("error", [
    httpx2.ReadTimeout("no answer in time"), httpx2.ReadError("reset"), httpx2.WriteTimeout("could not send it all"),
    httpx2.RemoteProtocolError("closed without an answer"), httpx2.Response(504, text="gateway time-out"),
], ids=lambda error: type(error).__name__)
async def test_a_request_that_was_sent_and_whose_answer_never_began_is_borne_by_the_platform(
    desk: Desk, error: Exception | httpx2.Response
) -> None:
    (lost, asked_again), answered = await ask(desk, error, WHOLE)
    assert answered
    assert (lost.exact, lost.status, lost.bearer, lost.billable) == (False, "failed", "platform", False)
    assert (lost.charge_nanousd, lost.quantities["output_tokens"]) == (0, 0)
    assert lost.quantities["input_tokens"] > 100
    assert Decimal(lost.cost_usd) == lost.quantities["input_tokens"] * INPUT_USD, "it is recorded as a cost of ours"
    assert (asked_again.exact, asked_again.status, asked_again.bearer) == (True, "ok", "customer")
    with desk.db.reading() as session:
        balance = session.get_one(Balance, desk.account_id)
    assert balance.charged_nanousd == asked_again.charge_nanousd
    assert balance.cost_nanousd == asked_again.cost_nanousd, "it counts towards no limit of the customer's"


@pytest.mark.parametrize("error", [httpx2.ConnectTimeout("nobody there"), httpx2.ConnectError("refused"),
                                   httpx2.PoolTimeout("busy")], ids=lambda error: type(error).__name__)
async def test_a_request_that_never_left_costs_nobody_anything(sqlite_desk: Desk, error: Exception) -> None:
    (row,), answered = await ask(sqlite_desk, error, WHOLE)
    assert (answered, row.exact, row.status, row.bearer) == (True, True, "ok", "customer")


@pytest.mark.parametrize("error", [httpx2.ReadTimeout("silent"), httpx2.RemoteProtocolError("closed in the middle")],
                         ids=lambda error: type(error).__name__)
async def test_an_answer_that_breaks_off_or_falls_silent_is_charged_for_what_came(
    desk: Desk, error: Exception
) -> None:
    (row,), answered = await ask(desk, [says(WORDS), error])
    assert not answered
    assert (row.exact, row.status, row.bearer, row.quantities["output_tokens"]) == (False, "failed", "customer", 100)
    assert Decimal(row.cost_usd) == row.quantities["input_tokens"] * INPUT_USD + 100 * OUTPUT_USD
    assert row.charge_nanousd * 10 == row.cost_nanousd * 12


@pytest.mark.parametrize("text", ["", WORDS], ids=["before a word", "after some words"])
async def test_a_moderated_answer_is_charged_as_it_was_measured(desk: Desk, text: str) -> None:
    (row,), answered = await ask(desk, [says(text), says("", "content_filter"), MEASURED])
    assert answered is bool(text), "what had been said is kept"
    assert (row.exact, row.bearer, row.quantities) == (True, "customer", {"input_tokens": 900, "output_tokens": 40})


async def test_a_question_that_the_provider_refuses_to_read_is_free(desk: Desk) -> None:
    assert await ask(desk, refusal(400, "content_filter")) == ([], False)


async def test_an_empty_answer_is_charged_as_it_was_measured_each_time_it_was_tried(desk: Desk) -> None:
    empty: list[Line] = [says(""), says("", "stop"), MEASURED]
    rows, answered = await ask(desk, empty, WHOLE)
    assert answered
    assert [(row.exact, row.status, row.quantities) for row in rows] == [
        (True, "ok", {"input_tokens": 900, "output_tokens": 40})] * 2


async def test_an_answer_that_nobody_measured_is_estimated_as_the_customer_got_it(desk: Desk) -> None:
    (row,), answered = await ask(desk, [says(WORDS), says("", "stop")])
    assert answered
    assert (row.exact, row.status, row.bearer, row.quantities["output_tokens"]) == (False, "ok", "customer", 100)


@dataclass
class Moody(Library):
    """A search that finds something, charges for a failure, gets lost, or is not there, as the query says."""

    async def search(self, query: str, *, max_results: int, max_price_usd_per_thousand: int) -> SearchResult:
        if query == "charged":
            raise Rejected("paid, but no answer", cost_usd=Decimal("0.002"))
        if query != "found":
            raise Unavailable("no answer", may_have_run=query == "lost")
        return SearchResult(SOURCES, Decimal("0.003"), exact=True)


async def test_of_tools_called_at_once_each_is_charged_by_its_own_outcome(desk: Desk) -> None:
    desk.library = Moody()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if not results(messages):
            yield calls(*[("search", json.dumps({"query": query})) for query in ("lost", "found", "away", "charged")],
                        ("run_code", '{"code": "print(1)"}'))
        else:
            yield "Done."

    events = await desk.ask(scripted(script))
    assert isinstance(events[-1], Finished)
    assert sum(event.error is None for event in events if isinstance(event, SearchFinished)) == 1
    tools = [(Decimal(row.cost_usd), row.exact, row.status, row.bearer) for row in desk.ledger() if row.kind == "tool"]
    assert sorted(tools) == [
        (Decimal("0.0002"), True, "ok", "customer"), (Decimal("0.002"), True, "failed", "customer"),
        (Decimal("0.003"), True, "ok", "customer"), (Decimal("0.08"), False, "failed", "platform")]
    desk.assert_settled()


async def test_an_answer_whose_reader_vanished_is_written_and_charged_whole(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    async with aclosing(room.answers.follow(room.account_id, prompt.message_id, 0)) as reader:  # type: ignore[type-var]
        pen.write("Half ")
        await anext(reader)
    pen.write("and whole.")
    pen.lift()
    saved = await room.ended(prompt)
    assert (saved.status, saved.text, saved.exact) == ("done", "Half and whole.", True)
    (row,) = room.rows(UsageEvent)
    assert (row.exact, row.status, row.cost_nanousd) == (True, "ok", saved.cost_nanousd)
    room.assert_nothing_is_open()


async def test_a_question_that_cost_only_the_platform_something_is_given_back(make_room: MakeRoom) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        raise ModelConnectionError("m", "lost", phase="read", retry_after=0)
        yield ""

    room = make_room(scripted(script))
    saved = await room.ended(await room.ask())
    assert (saved.status, saved.cost_nanousd, saved.plan) == ("failed", 0, FREE.key)
    assert [(row.bearer, row.charge_nanousd) for row in room.rows(UsageEvent)] == [("platform", 0)] * 3
    assert room.counted() == 0
    assert room.rows(Hold, Turn) == []


async def test_a_turn_that_takes_too_long_is_ended_and_charged_for_what_came(make_sqlite_room: MakeRoom) -> None:
    pen = Pen()
    room = make_sqlite_room(pen.model)
    prompt = await room.ask()
    pen.write(WORDS)
    await until(lambda: room.answers._live[prompt.message_id].draft.text)
    _let_pass(MAX_TURN_SECONDS + 1)
    saved = await room.ended(prompt)
    assert (saved.status, saved.error, saved.text) == ("failed", TOO_LONG, WORDS.strip())
    (row,) = room.rows(UsageEvent)
    assert (row.exact, row.bearer, row.quantities["output_tokens"]) == (False, "customer", 100)
    room.assert_nothing_is_open()


def _let_pass(seconds: float) -> None:
    """The event loop's clock goes ahead: what waits for a time up to then is due."""
    loop = asyncio.get_running_loop()
    clock: Callable[[], float] = loop.time
    loop.time = lambda: clock() + seconds  # type: ignore[method-assign]  # the loop's clock, nothing of ours
