"""What tools cost: as their vendor reports, else by the dated list prices, and the ledger row says which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo

from chatapp.agent.run import CODE_SECONDS, MAX_RESULTS, WIDE
from chatapp.billing import rates
from chatapp.billing.explain import explain
from chatapp.billing.pricing import cost_usd
from chatapp.clients.code import CodeResult
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.valyu import SearchResult
from chatapp.models import UsageEvent
from tests.agent.conftest import Desk, Library, Piece, Sandbox, calls, results, scripted

CAP_USD = Decimal(MAX_RESULTS * WIDE.price_usd) / 1000


@dataclass
class SilentLibrary(Library):
    """Its answers name no price."""

    async def search(self, query: str, *, max_results: int, max_price_usd_per_thousand: int) -> SearchResult:
        found = await super().search(query, max_results=max_results,
                                     max_price_usd_per_thousand=max_price_usd_per_thousand)
        return replace(found, exact=False)


@dataclass
class TimedSandbox(Sandbox):
    """Daytona's kind: the time that a program ran is what it is paid by."""

    name: str = "daytona"

    async def run(self, code: str, *, thread_id: str, timeout_seconds: float) -> CodeResult:
        result = await super().run(code, thread_id=thread_id, timeout_seconds=timeout_seconds)
        used = rates.sandbox_quantities(Decimal("1.5"), cpu=1, memory_gib=1, disk_gib=3)
        return replace(result, cost_usd=cost_usd(rates.DAYTONA, used), quantities=used)

    def max_cost_usd(self, timeout_seconds: float) -> Decimal:
        return cost_usd(rates.DAYTONA, rates.most_of_a_run("daytona", timeout_seconds))


async def tool_row(desk: Desk, tool: str) -> tuple[UsageEvent, str]:
    """The row of a turn's only tool call, and how it is explained."""
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if results(messages):
            yield "Done."
        else:
            yield calls((tool, '{"query": "rain"}' if tool == "search" else '{"code": "print(1)"}'))

    await desk.ask(scripted(script))
    (row,) = [row for row in desk.ledger() if row.kind == "tool"]
    desk.assert_settled()
    return row, explain(desk.db, row.id) or ""


async def test_a_search_costs_what_the_vendor_reports(sqlite_desk: Desk) -> None:
    row, said = await tool_row(sqlite_desk, "search")
    assert (row.quantities, Decimal(row.cost_usd), row.exact) == ({"calls": 1}, sqlite_desk.library.cost_usd, True)
    assert "cost $0.003 (reported by the vendor)" in said


@pytest.mark.parametrize("failure", [None, Unavailable("lost", may_have_run=True)])
async def test_a_search_without_a_reported_cost_is_taken_for_its_cap(
    sqlite_desk: Desk, failure: Exception | None
) -> None:
    sqlite_desk.library = SilentLibrary(failure=failure)
    row, said = await tool_row(sqlite_desk, "search")
    assert (row.quantities, Decimal(row.cost_usd), row.exact) == ({"results": MAX_RESULTS}, CAP_USD, False)
    assert f"{MAX_RESULTS} results × $0.01 = $0.08" in said


async def test_a_search_that_failed_and_was_charged_costs_that(sqlite_desk: Desk) -> None:
    sqlite_desk.library.failure = Rejected("no", cost_usd=Decimal("0.001"))
    row, said = await tool_row(sqlite_desk, "search")
    assert (row.status, Decimal(row.cost_usd), row.exact) == ("failed", Decimal("0.001"), True)
    assert "reported by the vendor" in said


async def test_a_program_at_daytona_costs_its_time_at_the_list_price(sqlite_desk: Desk) -> None:
    sqlite_desk.sandbox = TimedSandbox()
    row, said = await tool_row(sqlite_desk, "run_code")
    assert row.quantities == {"cpu_milliseconds": 1500, "memory_gib_milliseconds": 1500,
                              "disk_gib_milliseconds": 4500}
    assert (Decimal(row.cost_usd), row.exact) == (Decimal("0.000027885"), True), "1.5 s at $0.066924 an hour"
    assert rates.DAYTONA.version in said


async def test_a_program_that_never_answered_costs_the_most_that_it_could(sqlite_desk: Desk) -> None:
    sqlite_desk.sandbox = TimedSandbox(failure=Unavailable("lost", may_have_run=True))
    row, said = await tool_row(sqlite_desk, "run_code")
    assert row.quantities == rates.most_of_a_run("daytona", CODE_SECONDS)
    assert (Decimal(row.cost_usd), row.exact) == (Decimal("0.00085514"), False), "46 s"
    assert "46000 cpu_milliseconds" in said
