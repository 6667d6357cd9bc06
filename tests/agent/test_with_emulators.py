"""The real SDKs against the emulators: the ledger is what the vendors served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import httpx
import pytest
from pydantic_ai.models.openai import OpenAIChatModel

from chatapp.agent import history
from chatapp.agent.errors import AnswerFailed
from chatapp.agent.events import CodeFinished, CodeStarted, Event, Finished, SearchFinished, SearchStarted, TextDelta
from chatapp.agent.research import ResearchDeps, answer
from chatapp.clients.llm import build_model, close_model
from chatapp.clients.monty import Monty
from chatapp.clients.valyu import Valyu
from chatapp.settings import load

from .conftest import INPUT_USD, NOON, OUTPUT_USD, Desk

QUESTION = "Compare the cost of solar and wind power in a chart"


class Outside:
    """The vendors' clients, pointed at the emulators."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.url = url
        self.desk = desk
        self.settings = load({"EMULATORS_URL": url, "LIMITS": "on"})
        self.model: OpenAIChatModel = build_model(self.settings)
        self.valyu = Valyu(base_url=self.settings.valyu.url, key=self.settings.valyu.key, timeout_seconds=10)
        self.monty = Monty()
        self.before = len(self.served())

    def deps(self) -> ResearchDeps:
        return ResearchDeps(self.settings, self.desk.db, self.valyu, self.monty, self.model, self.desk.entitlement(),
                            self.desk.turn_id, "thread", lambda: NOON)

    async def ask(self, question: str = QUESTION, history_json: str = "") -> list[Event]:
        async with aclosing(answer(question, history_json=history_json, deps=self.deps())) as events:
            return [event async for event in events]

    def served(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = httpx.get(f"{self.url}/llm/_emulator/log").json()["requests"]
        return rows

    def new(self) -> list[dict[str, object]]:
        """What the model's endpoint has served since this test began."""
        return self.served()[self.before:]

    def fault(self, kind: str, times: int = 1, **options: object) -> None:
        answer = httpx.post(f"{self.url}/_faults", json={
            "vendor": "llm", "kind": kind, "times": times, **options})
        answer.raise_for_status()

    async def close(self) -> None:
        await close_model(self.model)
        await self.valyu.close()
        await self.monty.close()


@pytest.fixture
async def outside(desk: Desk, emulators: str) -> AsyncIterator[Outside]:
    outside = Outside(desk, emulators)
    yield outside
    await outside.close()


async def test_a_question_is_searched_computed_and_answered_with_citations(outside: Outside) -> None:
    events = await outside.ask()
    kinds = {type(event) for event in events}
    assert {SearchStarted, SearchFinished, CodeStarted, CodeFinished, TextDelta, Finished} <= kinds
    found = next(event for event in events if isinstance(event, SearchFinished))
    assert [source.number for source in found.sources] == list(range(1, len(found.sources) + 1))
    ran = next(event for event in events if isinstance(event, CodeFinished))
    assert (ran.error, len(ran.figures)) == (None, 1)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert "[1]" in finished.text
    served = outside.new()
    models = [row for row in outside.desk.ledger() if row.kind == "model"]
    assert [(row.quantities["input_tokens"] + row.quantities.get("cache_read_tokens", 0),
             row.quantities["output_tokens"]) for row in models] == [
        (row["prompt_tokens"], row["completion_tokens"]) for row in served]
    for row in models:
        tokens_in = row.quantities["input_tokens"] + row.quantities.get("cache_read_tokens", 0)
        assert Decimal(row.cost_usd) == tokens_in * INPUT_USD + row.quantities["output_tokens"] * OUTPUT_USD
    assert all(row.exact for row in outside.desk.ledger())
    outside.desk.assert_settled()


async def test_the_bound_was_never_below_what_was_served(outside: Outside) -> None:
    first = (await outside.ask())[-1]
    assert isinstance(first, Finished)
    await outside.ask("And what about it in Ελλάδα? ☀️", first.history_json)
    await outside.ask("Thanks!", history.join([first.history_json] * 3))
    outside.desk.assert_settled()  # no row has an overrun
    assert len(outside.new()) >= 5


async def test_a_stopped_answer_is_estimated_although_the_vendor_reports_nothing(outside: Outside) -> None:
    async def read() -> None:
        async with aclosing(answer("lorem 5000", history_json="", deps=outside.deps())) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    started.set()

    started = asyncio.Event()
    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = outside.desk.ledger()
    assert (row.exact, row.status) == (False, "stopped")
    assert row.quantities["input_tokens"] > 0
    assert row.quantities["output_tokens"] > 0
    assert row.cost_nanousd > 0
    outside.desk.assert_settled()


async def test_a_bad_moment_of_the_vendor_is_retried_and_costs_nothing(outside: Outside) -> None:
    outside.fault("500")
    events = await outside.ask("Hello")
    assert isinstance(events[-1], Finished)
    assert [(row.exact, row.status) for row in outside.desk.ledger()] == [(True, "ok")]
    outside.desk.assert_settled()


async def test_an_answer_that_got_lost_is_estimated_for_the_platform_and_asked_for_again(outside: Outside) -> None:
    outside.fault("lost_answer")
    events = await outside.ask("Hello")
    assert isinstance(events[-1], Finished)
    assert [(row.exact, row.status, row.bearer) for row in outside.desk.ledger()] == [
        (False, "failed", "platform"), (True, "ok", "customer")]
    assert len(outside.new()) == 2, "the vendor has served both"
    outside.desk.assert_settled()


async def test_an_outage_is_told_and_leaves_no_hold(outside: Outside) -> None:
    outside.fault("500", times=3)
    with pytest.raises(AnswerFailed) as failed:
        await outside.ask("Hello")
    assert failed.value.again
    assert outside.desk.ledger() == []
    outside.desk.assert_settled()


async def test_the_output_limit_that_the_hold_was_computed_with_is_sent(outside: Outside) -> None:
    outside.desk.budget_usd = Decimal("0.02")
    events = await outside.ask("lorem 5000")
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.shortened
    (row,) = outside.desk.ledger()
    assert row.quantities["output_tokens"] < 5_000
    assert row.cost_nanousd <= 20_000_000
    outside.desk.assert_settled()
