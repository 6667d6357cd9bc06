"""A turn's surroundings: an account with money, a library to search in, a sandbox, and models that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from sqlmodel import select

from chatapp.agent.events import Event
from chatapp.agent.research import ResearchDeps, answer
from chatapp.billing import ledger
from chatapp.billing.catalog import PAY_PER_USE, Plan
from chatapp.billing.entitlements import Entitlement
from chatapp.clients.code import Chart, CodeResult, Series
from chatapp.clients.valyu import SearchResult, Source
from chatapp.db import Database
from chatapp.ids import new_id
from chatapp.models import Account, Balance, Hold, UsageEvent
from chatapp.settings import EMULATED_MODEL, Settings, load

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
INPUT_USD, OUTPUT_USD = Decimal("0.0000025"), Decimal("0.00001")
"""The emulated model's prices per token."""
CHART = Chart("bar", "T", ("a", "b"), (Series("", (1.0, 2.0)),))
SOURCES = (
    Source("First", "https://a.example/1", "Passage one.", "web", None, Decimal("0.0015")),
    Source("Second", "https://b.example/2", "Passage two.", "web", None, Decimal("0.0015")),
)

Piece = str | DeltaToolCalls
Script = Callable[[list[ModelMessage], AgentInfo], AsyncIterator[Piece]]


@dataclass
class Library:
    """A search that finds the same sources each time, or fails in the given way."""

    sources: Sequence[Source] = SOURCES
    cost_usd: Decimal = Decimal("0.003")
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    queries: list[str] = field(default_factory=list)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def search(self, query: str, *, max_results: int, max_price_usd_per_thousand: int) -> SearchResult:
        self.queries.append(query)
        self.arrived.release()
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        return SearchResult(tuple(self.sources), self.cost_usd, exact=True)


@dataclass
class Sandbox:
    """A sandbox whose every program prints `ran` and draws a chart."""

    name: str = "sandbox"
    instructions: str = "Python with chart()."
    cost_usd: Decimal = Decimal("0.0002")
    cap_usd: Decimal = Decimal("0.001")
    failure: Exception | None = None

    async def run(self, code: str, *, thread_id: str, timeout_seconds: float) -> CodeResult:
        if self.failure:
            raise self.failure
        return CodeResult("ran\n", None, (CHART,), Decimal(1), self.cost_usd)

    def max_cost_usd(self, timeout_seconds: float) -> Decimal:
        return self.cap_usd

    async def close(self) -> None:
        pass


@dataclass
class Desk:
    """One account's turns: `ask` runs one, the rest is what it left behind."""

    db: Database
    account_id: str
    settings: Settings
    plan: Plan = PAY_PER_USE
    budget_usd: Decimal = Decimal(5)
    library: Library = field(default_factory=Library)
    sandbox: Sandbox = field(default_factory=Sandbox)
    turn_id: str = field(default_factory=new_id)

    def entitlement(self) -> Entitlement:
        return Entitlement(self.account_id, self.plan, self.budget_usd, limited=True)

    def deps(self, model: Model) -> ResearchDeps:
        return ResearchDeps(self.settings, self.db, self.library, self.sandbox, model, self.entitlement(),
                            self.turn_id, "thread", lambda: NOON)

    async def ask(self, model: Model, question: str = "Why?", history_json: str = "") -> list[Event]:
        async with aclosing(answer(question, history_json=history_json, deps=self.deps(model))) as events:
            return [event async for event in events]

    def ledger(self) -> list[UsageEvent]:
        with self.db.reading() as session:
            mine = select(UsageEvent).where(UsageEvent.turn_id == self.turn_id).order_by(UsageEvent.id)
            return list(session.exec(mine).all())

    def charged_nanousd(self) -> int:
        """The sum of the ledger, over all of the account's turns."""
        with self.db.reading() as session:
            return sum(session.exec(select(UsageEvent.charge_nanousd)).all())

    def assert_settled(self) -> None:
        """No hold is left, the totals are the ledger's, and no charge is above what was set aside."""
        with self.db.reading() as session:
            assert session.exec(select(Hold)).all() == []
            balance = session.get(Balance, self.account_id)
            total = ledger.turn_total(session, self.turn_id)
        rows = self.ledger()
        assert total.cost_nanousd == sum(row.cost_nanousd for row in rows if row.bearer == "customer")
        if balance is None:
            assert rows == []
            return
        assert (balance.held_nanousd, balance.held_cost_nanousd) == (0, 0)
        assert total.charge_nanousd == sum(row.charge_nanousd for row in rows)
        assert balance.charged_nanousd == self.charged_nanousd()
        assert all(row.overrun_nanousd == 0 for row in rows)
        assert all(row.charge_nanousd == 0 for row in rows if row.bearer == "platform")


@pytest.fixture
def settings() -> Settings:
    return load({"LIMITS": "on"})


@pytest.fixture
def desk(db: Database, settings: Settings) -> Desk:
    return Desk(db, _account(db), settings)


@pytest.fixture
def sqlite_desk(sqlite_db: Database, settings: Settings) -> Desk:
    return Desk(sqlite_db, _account(sqlite_db), settings)


def _account(db: Database) -> str:
    with db.session() as session:
        row = Account(kind="person")
        session.add(row)
    return row.id


def scripted(script: Script) -> FunctionModel:
    """A model that streams what the script yields, under the emulated model's name and prices."""
    return FunctionModel(stream_function=script, model_name=EMULATED_MODEL)


def saying(*pieces: str) -> FunctionModel:
    """A model that answers with these pieces at once."""

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        for piece in pieces:
            yield piece

    return scripted(script)


def calls(*wanted: tuple[str, str]) -> DeltaToolCalls:
    """Tool calls, as name and JSON arguments, all in one response."""
    return {index: DeltaToolCall(name, arguments, tool_call_id=f"call-{new_id()}")
            for index, (name, arguments) in enumerate(wanted)}


def results(messages: list[ModelMessage]) -> list[ToolReturnPart]:
    """The tool results that the model has been given."""
    return [part for message in messages if isinstance(message, ModelRequest) for part in message.parts
            if isinstance(part, ToolReturnPart)]


def last_response(messages: list[ModelMessage]) -> ModelResponse:
    return next(message for message in reversed(messages) if isinstance(message, ModelResponse))
