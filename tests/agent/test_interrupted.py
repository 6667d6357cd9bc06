"""Turns that are stopped or fall apart: what was used is in the ledger, and no hold is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError, ModelConnectionError, ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from sqlmodel import select

from chatapp.agent.errors import AnswerFailed
from chatapp.agent.events import Event, SearchStarted, TextDelta
from chatapp.agent.payer import Bill, Order, paid, place
from chatapp.agent.research import answer
from chatapp.agent.run import metered
from chatapp.billing.holds import sweep
from chatapp.ids import new_id
from chatapp.models import Account, Hold

from .conftest import INPUT_USD, OUTPUT_USD, Desk, Piece, calls, saying, scripted

LONG = "word " * 60


def endless() -> tuple[asyncio.Event, Model]:
    """A model that says LONG and then nothing more, and the event that tells that it did."""
    said = asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        yield LONG
        said.set()
        await asyncio.Event().wait()

    return said, scripted(script)


async def read(desk: Desk, model: Model, into: list[Event]) -> None:
    async with aclosing(answer("Why?", history_json="", deps=desk.deps(model))) as events:
        async for event in events:
            into.append(event)


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_turn_stopped_in_the_middle_is_settled_as_an_estimate(desk: Desk) -> None:
    said, model = endless()
    seen: list[Event] = []
    task = asyncio.create_task(read(desk, model, seen))
    await said.wait()
    await cancel(task)
    assert seen == [TextDelta(LONG)]
    (row,) = desk.ledger()
    assert (row.exact, row.status) == (False, "stopped")
    assert row.quantities["output_tokens"] == 100, "300 bytes, three in a token"
    assert row.quantities["input_tokens"] > 0
    assert Decimal(row.cost_usd) == (
        row.quantities["input_tokens"] * INPUT_USD + row.quantities["output_tokens"] * OUTPUT_USD
    )
    desk.assert_settled()


async def test_closing_the_iterator_stops_the_turn_and_settles_it(desk: Desk) -> None:
    async with aclosing(answer("Why?", history_json="", deps=desk.deps(endless()[1]))) as events:
        async for _ in events:
            break
    assert [(row.exact, row.status) for row in desk.ledger()] == [(False, "stopped")]
    desk.assert_settled()


async def test_a_turn_stopped_before_the_first_word_pays_the_likely_input(desk: Desk) -> None:
    asked = asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        asked.set()
        await asyncio.Event().wait()
        yield ""

    task = asyncio.create_task(read(desk, scripted(script), []))
    await asked.wait()
    await cancel(task)
    (row,) = desk.ledger()
    assert row.quantities["output_tokens"] == 0
    assert row.quantities["input_tokens"] > 100
    assert not row.exact
    desk.assert_settled()


async def test_a_search_that_is_cut_off_costs_its_cap_as_an_estimate(desk: Desk) -> None:
    desk.library.gate = asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        yield calls(("search", '{"query": "a"}'), ("search", '{"query": "b"}'))

    seen: list[Event] = []
    task = asyncio.create_task(read(desk, scripted(script), seen))
    await desk.library.arrived.acquire()
    await desk.library.arrived.acquire()
    await cancel(task)
    assert [type(event) for event in seen] == [SearchStarted, SearchStarted]
    tools = [row for row in desk.ledger() if row.kind == "tool"]
    assert [(Decimal(row.cost_usd), row.exact, row.status) for row in tools] == [
        (Decimal("0.08"), False, "stopped")
    ] * 2
    desk.assert_settled()


async def test_a_cancel_at_any_moment_leaves_no_hold(sqlite_desk: Desk) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if len(messages) < 4:
            yield "So. "
            yield calls(("search", '{"query": "a"}'))
        else:
            yield "End."

    outcomes = set()
    for moment in range(60):
        desk = replace(sqlite_desk, turn_id=new_id())
        task = asyncio.create_task(read(desk, scripted(script), []))
        for _ in range(moment):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        desk.assert_settled()
        outcomes.add(tuple(row.status for row in desk.ledger()))
    assert len(outcomes) > 2, "it was cut off at different steps"


async def test_a_failure_in_the_middle_is_settled_as_failed_and_told(desk: Desk) -> None:
    attempts: list[int] = []

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        attempts.append(1)
        yield LONG
        raise ModelConnectionError("m", "connection reset", phase="read")

    seen: list[Event] = []
    with pytest.raises(AnswerFailed, match="does not answer at the moment"):
        await read(desk, scripted(script), seen)
    assert seen == [TextDelta(LONG)]
    assert len(attempts) == 1, "what was shown is not begun again"
    (row,) = desk.ledger()
    assert (row.exact, row.status, row.quantities["output_tokens"]) == (False, "failed", 100)
    desk.assert_settled()


@pytest.mark.parametrize(
    ("phase", "rows"), [("connect", 0), ("pool", 0), ("read", 1), ("write", 1), (None, 1)]
)
async def test_a_request_that_never_left_is_free_and_one_that_got_lost_is_borne_by_the_platform(
    sqlite_desk: Desk, phase: str | None, rows: int
) -> None:
    attempts: list[int] = []

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelConnectionError("m", "no", phase=phase, retry_after=0)  # type: ignore[arg-type]
        yield "Here."

    await sqlite_desk.ask(scripted(script))
    assert [(row.exact, row.status, row.bearer) for row in sqlite_desk.ledger()] == [
        *[(False, "failed", "platform")] * rows, (True, "ok", "customer")]
    sqlite_desk.assert_settled()


async def test_after_three_attempts_the_person_is_told(sqlite_desk: Desk) -> None:
    attempts: list[int] = []

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        attempts.append(1)
        raise ModelConnectionError("m", "no", phase="connect", retry_after=0)
        yield ""

    with pytest.raises(AnswerFailed) as failed:
        await sqlite_desk.ask(scripted(script))
    assert failed.value.again
    assert isinstance(failed.value.__cause__, ModelAPIError)
    assert len(attempts) == 3
    assert sqlite_desk.ledger() == []


async def test_an_answer_under_way_is_noted_so_that_a_crash_leaves_an_estimate(desk: Desk) -> None:
    said, model = endless()
    paying = replace(desk.deps(model).payer, note_seconds=0.02)
    agent = Agent(metered(desk.settings, model, paying))

    async def stream() -> None:
        async with agent.run_stream_events("Why?") as events:
            async for _ in events:
                pass

    task = asyncio.create_task(stream())
    await said.wait()
    noted: list[Hold] = []
    while not noted or noted[0].estimate.get("output_tokens") != 100:
        await asyncio.sleep(0.02)
        with desk.db.reading() as session:
            noted = list(session.exec(select(Hold)).all())
    # The process is taken for dead: the sweep settles with what was noted, and the late settlement changes nothing.
    assert sweep(desk.db, noted[0].lease_until + timedelta(seconds=1)) == 1
    await cancel(task)
    (row,) = desk.ledger()
    assert (row.status, row.exact, row.quantities) == ("interrupted", False, noted[0].estimate)
    desk.assert_settled()


async def test_a_side_call_without_a_stream_is_metered_too(desk: Desk) -> None:
    def title(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        used = RequestUsage(input_tokens=100, cache_read_tokens=60, cache_write_tokens=10, output_tokens=7)
        return ModelResponse([TextPart("A title")], usage=used)

    deps = desk.deps(FunctionModel(title, model_name="emulated-model"))
    result = await Agent(metered(desk.settings, deps.model, deps.payer)).run("Make a title")
    assert result.output == "A title"
    (row,) = desk.ledger()
    assert row.quantities == {
        "input_tokens": 30, "cache_read_tokens": 60, "cache_write_tokens": 10, "output_tokens": 7,
    }
    assert Decimal(row.cost_usd) == 100 * INPUT_USD + 7 * OUTPUT_USD
    assert row.exact
    desk.assert_settled()


async def test_text_is_shown_as_it_comes_and_a_whole_answer_is_exact(desk: Desk) -> None:
    events = await desk.ask(saying("One", " word."))
    assert events[:2] == [TextDelta("One"), TextDelta(" word.")]
    assert [(row.exact, row.status) for row in desk.ledger()] == [(True, "ok")]
    desk.assert_settled()


@pytest.mark.parametrize(("status", "rows"), [(408, 1), (504, 1), (524, 1), (400, 0), (429, 0), (503, 0)])
async def test_a_gateway_s_time_out_is_borne_by_the_platform_and_a_vendor_s_refusal_is_free(
    sqlite_desk: Desk, status: int, rows: int
) -> None:
    def script(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ModelHTTPError(status, "m")

    deps = sqlite_desk.deps(FunctionModel(script, model_name="emulated-model"))
    with pytest.raises(ModelHTTPError):
        await Agent(metered(sqlite_desk.settings, deps.model, deps.payer)).run("Why?")
    assert [(row.exact, row.status, row.bearer) for row in sqlite_desk.ledger()][:1] == (
        [(False, "failed", "platform")] * rows)
    sqlite_desk.assert_settled()


async def test_settling_a_stopped_step_does_not_stall_the_others(sqlite_desk: Desk) -> None:
    payer = sqlite_desk.deps(saying("")).payer
    order = Order("tool", "valyu", "search", None, Decimal("0.01"), {"calls": 1})
    hold = await place(payer, order)
    began = asyncio.Event()

    async def step() -> None:
        async with paid(payer, hold, bill=lambda _: Bill({"calls": 1}, exact=False, cost_usd=Decimal("0.01"))):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(step())
    await began.wait()
    with sqlite_desk.db.session() as session:  # somebody else writes: the ledger has to wait
        session.add(Account(kind="person"))
        session.flush()
        task.cancel()
        for _ in range(5):  # the loop goes on, and no further cancel cuts the wait short
            await asyncio.sleep(0.01)
            task.cancel()
        assert not task.done()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [(row.exact, row.status) for row in sqlite_desk.ledger()] == [(False, "stopped")]
    sqlite_desk.assert_settled()


async def test_an_estimate_that_fails_once_does_not_end_the_renewing(
    sqlite_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    payer = replace(sqlite_desk.deps(saying("")).payer, note_seconds=0.01)
    hold = await place(payer, Order("tool", "valyu", "search", None, Decimal("0.01"), {"calls": 1}))
    estimates: list[int] = []
    renewed = asyncio.Event()

    def estimate() -> dict[str, int]:
        estimates.append(1)
        if len(estimates) == 1:
            raise RuntimeError("not yet")
        renewed.set()
        return {"calls": 1}

    async with paid(payer, hold, bill=lambda _: None, estimate=estimate):
        await asyncio.wait_for(renewed.wait(), 5)
    assert "Could not note the progress" in caplog.text
    sqlite_desk.assert_settled()
