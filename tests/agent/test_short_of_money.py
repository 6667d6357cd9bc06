"""Turns with little money: tools are withdrawn, answers are shortened, and nothing is sent that cannot be paid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo

from chatapp.agent.events import Finished, SearchFinished
from chatapp.agent.meter import (
    MAX_OUTPUT_TOKENS,
    MIN_OUTPUT_TOKENS,
    affordable_output_tokens,
    worst_cost_usd,
)
from chatapp.billing import periods
from chatapp.billing.catalog import VISITOR
from chatapp.billing.holds import InsufficientFunds
from chatapp.billing.pricing import UnitPrices
from chatapp.clients.valyu import Source
from chatapp.ids import new_id
from chatapp.models import Balance

from .conftest import NOON, Desk, Library, Piece, calls, results, scripted

PRICES = UnitPrices("p", "m", "test", {
    "input_tokens": Decimal("0.0000025"), "cache_write_tokens": Decimal("0.000005"),
    "output_tokens": Decimal("0.00001"),
})
LONG_SOURCES = tuple(
    Source("t" * 100, f"https://a.example/{n}", "u" * 2_000, "web", None, Decimal("0.002")) for n in range(8)
)


class Greedy:
    """A model that searches as long as it is offered a search; remembers what it was allowed."""

    def __init__(self) -> None:
        self.tools: list[int] = []
        self.max_tokens: list[int] = []

    async def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        self.tools.append(len(info.function_tools))
        self.max_tokens.append((info.model_settings or {})["max_tokens"])
        if info.function_tools:
            yield calls(("search", f'{{"query": "q{len(self.tools)}"}}'))
        else:
            yield "What I have."


async def test_tools_are_withdrawn_while_an_answer_can_still_be_paid(desk: Desk) -> None:
    desk.budget_usd = Decimal("0.10")
    greedy = Greedy()
    events = await desk.ask(scripted(greedy))
    assert isinstance(events[-1], Finished)
    assert events[-1].text == "What I have."
    assert greedy.tools[0] == 2
    assert greedy.tools[-1] == 0
    assert all(event.error is None for event in events if isinstance(event, SearchFinished)), "what is offered is paid"
    assert sum(row.cost_nanousd for row in desk.ledger()) <= 100_000_000
    desk.assert_settled()


async def test_a_visitor_gets_at_least_one_search(sqlite_desk: Desk) -> None:
    sqlite_desk.plan, sqlite_desk.budget_usd = VISITOR, VISITOR.max_turn_cost_usd
    events = await sqlite_desk.ask(scripted(Greedy()))
    assert any(isinstance(event, SearchFinished) for event in events)
    assert isinstance(events[-1], Finished)
    sqlite_desk.assert_settled()


async def test_an_answer_is_shortened_to_what_can_be_paid(desk: Desk) -> None:
    desk.budget_usd = Decimal("0.02")
    greedy = Greedy()
    await desk.ask(scripted(greedy))
    assert greedy.tools == [0]
    assert MIN_OUTPUT_TOKENS <= greedy.max_tokens[0] < MAX_OUTPUT_TOKENS
    desk.assert_settled()


async def test_what_cannot_be_paid_is_never_sent(desk: Desk) -> None:
    desk.budget_usd = Decimal("0.002")
    greedy = Greedy()
    with pytest.raises(InsufficientFunds) as refused:
        await desk.ask(scripted(greedy))
    assert refused.value.text
    assert greedy.tools == []
    assert desk.ledger() == []
    desk.assert_settled()


async def test_whatever_the_budget_a_turn_that_begins_ends_with_an_answer(sqlite_desk: Desk) -> None:
    library = Library(LONG_SOURCES, cost_usd=Decimal("0.016"))
    for tenths_of_a_cent in [*range(2, 42, 4), *range(50, 300, 10)]:
        budget_usd = Decimal(tenths_of_a_cent) / 1000
        desk = replace(sqlite_desk, budget_usd=budget_usd, library=library, turn_id=new_id())
        greedy = Greedy()
        try:
            events = await desk.ask(scripted(greedy))
        except InsufficientFunds:
            assert not greedy.tools
            assert not desk.ledger()
        else:
            assert isinstance(events[-1], Finished)
            assert sum(row.cost_nanousd for row in desk.ledger()) <= budget_usd * 10**9


async def test_parallel_calls_leave_the_money_for_the_answer(desk: Desk) -> None:
    """Each of eight searches may bring 10,000 bytes, which the answer has to read and pay."""
    desk.budget_usd = Decimal("0.20")
    desk.library.cost_usd = Decimal("0.016")
    desk.library.sources = LONG_SOURCES

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if not results(messages):
            yield calls(*[("search", f'{{"query": "q{n}"}}') for n in range(8)])
        else:
            yield "Done."

    events = await desk.ask(scripted(script))
    searches = [event for event in events if isinstance(event, SearchFinished)]
    assert len(searches) == 8
    assert 2 <= sum(event.error is None for event in searches) < 8
    assert isinstance(events[-1], Finished)
    desk.assert_settled()


async def test_a_talkative_step_leaves_the_money_for_its_tool_and_the_answer(desk: Desk) -> None:
    desk.budget_usd = Decimal("0.10")

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if not results(messages):
            yield "word " * ((info.model_settings or {})["max_tokens"] - 20)
            yield calls(("search", '{"query": "q"}'))
        else:
            yield "Done."

    events = await desk.ask(scripted(script))
    assert [event.error for event in events if isinstance(event, SearchFinished)] == [None]
    assert isinstance(events[-1], Finished)
    desk.assert_settled()


async def test_turns_side_by_side_never_charge_more_than_the_limit(desk: Desk) -> None:
    """Four turns share an account that may be charged 15 cents."""
    limit = 150_000_000
    with desk.db.session() as session:
        session.add(Balance(account_id=desk.account_id, period_start=periods.month(NOON).start,
                            spend_limit_nanousd=limit))

    async def turn() -> str:
        own = Desk(desk.db, desk.account_id, desk.settings, budget_usd=Decimal(5), turn_id=new_id())
        try:
            await own.ask(scripted(Greedy()))
        except InsufficientFunds:
            return "refused"
        return "answered"

    outcomes = await asyncio.gather(*[turn() for _ in range(4)])
    assert "answered" in outcomes
    with desk.db.reading() as session:
        balance = session.get(Balance, desk.account_id)
    assert balance is not None
    assert balance.held_nanousd == 0
    assert balance.charged_nanousd == desk.charged_nanousd() <= limit


@given(
    input_tokens=st.integers(0, 200_000), wanted=st.integers(1, 10_000),
    available=st.decimals(0, 1, places=6, allow_nan=False),
)
def test_what_is_allowed_is_always_affordable(input_tokens: int, wanted: int, available: Decimal) -> None:
    try:
        tokens = affordable_output_tokens(PRICES, input_tokens, wanted, available)
    except InsufficientFunds:
        assert worst_cost_usd(PRICES, input_tokens, min(wanted, MIN_OUTPUT_TOKENS)) > available
    else:
        assert min(wanted, MIN_OUTPUT_TOKENS) <= tokens <= wanted
        assert worst_cost_usd(PRICES, input_tokens, tokens) <= available


def test_the_worst_case_assumes_that_all_input_is_written_to_the_dearest_cache() -> None:
    assert worst_cost_usd(PRICES, 1_000, 100) == Decimal("0.005") + Decimal("0.001")


def test_a_free_model_answers_without_money() -> None:
    free = UnitPrices("p", "m", "test", {"input_tokens": Decimal(0), "output_tokens": Decimal(0)})
    assert affordable_output_tokens(free, 10_000, 500, Decimal(0)) == 500
