"""What one turn works with, and what it has used up so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pydantic_ai.models import Model

from chatapp.agent.meter import MeteredModel, worst_cost_usd
from chatapp.agent.payer import Order, Payer
from chatapp.agent.retrying import RetryingModel
from chatapp.agent.sources import Sources
from chatapp.billing import rates
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.pricebook import unit_prices
from chatapp.billing.pricing import UnitPrices
from chatapp.clients.code import CodeRunner
from chatapp.clients.valyu import SearchResult, max_cost_usd
from chatapp.db import Database, now
from chatapp.settings import Settings

MAX_REQUESTS = 8
"""Model requests per turn; the last is offered no tools, so that it answers."""
MAX_TOOL_CALLS = 10
MAX_RESULTS = 8
"""Sources per search."""
CODE_SECONDS = 30.0
RESULT_MARGIN_BYTES = 256
"""For the markers around a tool's result."""
FINAL_TOKENS = 1_024
"""The length of the last answer that money is kept for."""


@dataclass(frozen=True)
class Breadth:
    """How much a turn's tools may bring.

    Attributes:
        price_usd: the dearest source that a search may return, in dollars per thousand.
        result_bytes: the most of a tool's result that the model gets to read.
    """

    price_usd: int
    result_bytes: int


WIDE = Breadth(price_usd=10, result_bytes=20_000)
"""The open web, papers and finance, but no licensed collections."""
NARROW = Breadth(price_usd=2, result_bytes=10_000)
"""The open web and papers."""
WIDE_FROM_USD = Decimal(1)
"""What a question must be allowed to cost to be researched widely."""


class Search(Protocol):
    """What a turn needs of `clients.valyu.Valyu`."""

    async def search(
        self, query: str, *, max_results: int, max_price_usd_per_thousand: int
    ) -> SearchResult:
        """See `Valyu.search`."""


@dataclass(frozen=True)
class ResearchDeps:
    """Everything that a turn is given.

    Attributes:
        model: one concrete model without retries of its own, as `clients.llm.build_model` makes it.
        entitlement: the verdict that the turn was admitted with.
        turn_id: the id of the message that is being written.
        stopped: whether the person stopped the turn, when it is cut off; see `Payer`.
    """

    settings: Settings
    db: Database
    valyu: Search
    code_runner: CodeRunner
    model: Model
    entitlement: Entitlement
    turn_id: str
    thread_id: str
    now: Callable[[], datetime] = field(default=now)
    stopped: Callable[[], bool] = lambda: True

    @property
    def payer(self) -> Payer:
        """On whose account the turn's steps are taken."""
        return Payer(self.db, self.entitlement, self.turn_id, self.thread_id, self.now, stopped=self.stopped)


def metered(settings: Settings, model: Model, payer: Payer) -> MeteredModel:
    """Put the meter around a model. Side calls (titles, follow-ups) use it with `pydantic_ai.Agent` directly.

    Raises:
        UnpricedModel: no price is known, so it must not be called.
    """
    def prices() -> UnitPrices:
        return unit_prices(settings, model.model_name, now=payer.now())

    prices()
    return MeteredModel(model, payer, prices)


class Run:
    """One turn under way: the dependencies of the agent's tools.

    Attributes:
        model: what the agent calls: retries around the meter around the model.
        breadth: how much its tools may bring.
        sources: the numbers given so far.
        tool_calls: tools called so far.
        winding_down: tools were withdrawn, for good, so that the turn ends with an answer.
        placing: held while money for a tool is checked and set aside, one call after another.
    """

    def __init__(self, deps: ResearchDeps) -> None:
        """Start a turn.

        Raises:
            UnpricedModel: no price is known for the model; nothing was called.
        """
        self.deps = deps
        self.payer = deps.payer
        self.breadth = WIDE if deps.entitlement.cost_budget_usd >= WIDE_FROM_USD else NARROW
        self.meter = metered(deps.settings, deps.model, self.payer)
        self.model = RetryingModel(self.meter)
        self.sources = Sources()
        self.tool_calls = 0
        self.winding_down = False
        self.placing = asyncio.Lock()

    def order(self, tool: str) -> Order:
        """What a call of a tool can come to."""
        if tool == "search":
            cap = max_cost_usd(MAX_RESULTS, self.breadth.price_usd)
            prices = rates.search_cap(self.breadth.price_usd)
            return Order("tool", "valyu", tool, prices, cap, {"results": MAX_RESULTS})
        runner = self.deps.code_runner
        return Order("tool", runner.name, tool, rates.of_runner(runner.name), runner.max_cost_usd(CODE_SECONDS),
                     rates.most_of_a_run(runner.name, CODE_SECONDS))

    def expect_result(self) -> None:
        """A tool was called: from now on its result counts as part of the conversation."""
        self.tool_calls += 1
        self.meter.context_tokens += self.breadth.result_bytes + RESULT_MARGIN_BYTES

    def answer_cost_usd(self, context_tokens: int) -> Decimal:
        """The most that a last answer costs after one more tool result, in dollars."""
        input_tokens = context_tokens + self.breadth.result_bytes + RESULT_MARGIN_BYTES
        return worst_cost_usd(self.meter.prices(), input_tokens, FINAL_TOKENS)
