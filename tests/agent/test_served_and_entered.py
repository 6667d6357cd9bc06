"""Nothing that a provider charges is missing from the ledger, and nothing in the ledger was not served.

The real agent and the real SDKs work against the emulated model, search and sandbox, on good and on bad days; then
each request in the vendors' own logs has exactly one ledger row, and each row its request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import httpx
import pytest
from pydantic_ai import Agent
from sqlmodel import select

from chatapp.agent.errors import AnswerFailed
from chatapp.agent.payer import Payer
from chatapp.agent.research import ResearchDeps, answer
from chatapp.agent.run import metered
from chatapp.billing.reconcile import local_differences
from chatapp.clients.daytona import Daytona
from chatapp.clients.llm import build_model, close_model
from chatapp.clients.valyu import Valyu
from chatapp.ids import new_id
from chatapp.models import Hold, UsageEvent
from chatapp.settings import load

from .conftest import NOON, Desk
from .served import Logs, Served, differences, served_count

SEARCH = "How do heat pumps compare with gas boilers?"
PLOT = "Plot how $1,000 grows at 5 % a year for 30 years"
AT_ONCE = "Plot the cost of solar and wind power in a chart, with 3 searches at once"
SEED = 20


@dataclass
class Turn:
    """One turn: `mark` is a word of its question and its thread's id; `lost` requests never reach their vendor."""

    desk: Desk
    question: str
    lost: int = 0
    mark: str = field(default_factory=lambda: f"case{random.getrandbits(48):012x}")


class Street:
    """The vendors as they are outside: the app's own clients, pointed at the emulators, and the emulators' logs."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.desk, self.url, self.turns = desk, url, list[Turn]()
        self.settings = load({"EMULATORS_URL": url, "LIMITS": "on"})
        self.model = build_model(self.settings)
        self.valyu = Valyu(base_url=self.settings.valyu.url, key=self.settings.valyu.key, timeout_seconds=10)
        self.daytona = Daytona(api_url=f"{url}/daytona/api", key="dtn_emulated", timeout_seconds=10, target="us")
        self.logs = Logs(url)

    def turn(self, question: str, *, lost: int = 0) -> Turn:
        turn = Turn(replace(self.desk, turn_id=new_id()), question, lost)
        self.turns.append(turn)
        return turn

    def payer(self, turn: Turn) -> Payer:
        return self._deps(turn).payer

    async def ask(self, turn: Turn, *, seen: Callable[[], None] = lambda: None) -> None:
        """Have the turn answered, calling `seen` at each event; a failure that the person is told of is an answer."""
        asked = f"{turn.mark} {turn.question}"
        with suppress(AnswerFailed):
            async with aclosing(answer(asked, history_json="", deps=self._deps(turn))) as events:
                async for _ in events:
                    seen()

    def fault(self, vendor: str, kind: str, *, times: int = 1, path: str = "") -> None:
        httpx.post(f"{self.url}/_faults", json={"vendor": vendor, "kind": kind, "times": times, "path": path}
                   ).raise_for_status()

    async def compared(self) -> list[tuple[list[UsageEvent], Served]]:
        """Hold each turn's rows against the logs; returns both, once they agree."""
        await self.logs.at_rest()
        found = [(turn.desk.ledger(), self.logs.of(turn.mark)) for turn in self.turns]
        wrong = [(turn.question, difference) for turn, (rows, served) in zip(self.turns, found, strict=True)
                 for difference in differences(rows, served, lost=turn.lost)]
        assert wrong == []
        for turn, (rows, _) in zip(self.turns, found, strict=True):
            names = [row.name for row in rows]
            assert names.count("search") <= (3 if turn.question == AT_ONCE else 1)
            assert names.count("run_code") <= 1
        assert self.logs.count() == sum(served_count(served) for _, served in found), "served to no turn of ours"
        with self.desk.db.reading() as session:
            assert session.exec(select(Hold)).all() == []
            assert len(session.exec(select(UsageEvent.id)).all()) == sum(len(rows) for rows, _ in found)
        assert local_differences(self.desk.db, NOON) == []
        return found

    async def close(self) -> None:
        async with httpx.AsyncClient() as emulators:
            for vendor in ("llm", "valyu", "daytona"):
                await emulators.delete(f"{self.url}/_faults", params={"vendor": vendor})
        await close_model(self.model)
        await self.valyu.close()
        await self.daytona.close()

    def _deps(self, turn: Turn) -> ResearchDeps:
        return ResearchDeps(self.settings, self.desk.db, self.valyu, self.daytona, self.model,
                            turn.desk.entitlement(), turn.desk.turn_id, turn.mark, lambda: NOON)


@pytest.fixture
async def street(desk: Desk, emulators: str) -> AsyncIterator[Street]:
    made = Street(desk, emulators)
    yield made
    await made.close()


async def at_most(count: int, work: list[Callable[[], Awaitable[None]]]) -> None:
    """Do all of it, so many at the same time."""
    free = asyncio.Semaphore(count)

    async def one(each: Callable[[], Awaitable[None]]) -> None:
        async with free:
            await each()

    await asyncio.gather(*map(one, work))


async def test_whole_turns_side_by_side_are_in_the_ledger_as_they_were_served(street: Street) -> None:
    turns = [street.turn(question) for question in (SEARCH, PLOT, AT_ONCE, "Hello!", "lorem 600") * 2]
    await at_most(6, [lambda turn=turn: street.ask(turn) for turn in turns])  # type: ignore[misc]  # a lambda's default
    found = await street.compared()
    rows = [row for rows, _ in found for row in rows]
    assert all(row.exact and row.status == "ok" for row in rows)
    assert [sum(row.name == name for row in rows) for name in ("search", "run_code")] == [12, 4]
    assert max(len(served.search_costs_usd) + len(served.run_costs_usd) for _, served in found) == 4, "all at once"


async def test_turns_that_are_stopped_at_random_moments_are_estimated_once_each(street: Street) -> None:
    chance = random.Random(SEED)
    turns = [street.turn(question) for question in (SEARCH, PLOT, AT_ONCE, "lorem 600") * 6]

    async def stopped(turn: Turn) -> None:
        """After so many events, which other machines reach at other times, and a moment more."""
        events, moment, enough = chance.randrange(9), chance.uniform(0, 0.04), asyncio.Semaphore(0)
        task = asyncio.create_task(street.ask(turn, seen=enough.release))
        for _ in range(events):
            another = asyncio.ensure_future(enough.acquire())
            await asyncio.wait([task, another], return_when=asyncio.FIRST_COMPLETED)
            another.cancel()
        await asyncio.wait([task], timeout=moment)
        task.cancel()
        await asyncio.wait([task])

    await at_most(4, [lambda turn=turn: stopped(turn) for turn in turns])  # type: ignore[misc]  # as above
    found = await street.compared()
    rows = [row for rows, _ in found for row in rows]
    assert any(row.status == "stopped" for row in rows)
    assert all(row.bearer == "customer" for row in rows)
    assert sum(map(served_count, (served for _, served in found))) > len(turns)


@pytest.mark.parametrize(("vendor", "kind", "path", "question", "lost"), [
    ("llm", "429", "", "Hello!", 0), ("llm", "500", "", "Hello!", 0), ("llm", "lost_answer", "", "Hello!", 0),
    ("llm", "down", "", "Hello!", 1), ("llm", "lost_answer", "", PLOT, 0),
    ("valyu", "429", "", SEARCH, 0), ("valyu", "500", "", SEARCH, 1), ("valyu", "down", "", AT_ONCE, 1),
    ("valyu", "lost_answer", "", AT_ONCE, 0),
    ("daytona", "lost_answer", "code-run", PLOT, 0), ("daytona", "500", "code-run", PLOT, 1),
    ("daytona", "429", "code-run", AT_ONCE, 0), ("daytona", "down", "/api/sandbox", PLOT, 0),
])
async def test_whatever_a_vendor_s_bad_day_does_what_it_served_is_entered_once(
    street: Street, vendor: str, kind: str, path: str, question: str, lost: int
) -> None:
    street.fault(vendor, kind, path=path)
    await street.ask(street.turn(question, lost=lost))
    ((rows, served),) = await street.compared()
    assert rows[-1].status == "ok", "the turn came to its answer"
    assert len(rows) - served_count(served) == lost


async def test_a_search_that_failed_and_charged_is_entered_and_one_that_was_refused_is_not(street: Street) -> None:
    await street.ask(street.turn("emulate charged failure heat pumps?"))
    street.valyu = Valyu(base_url=street.settings.valyu.url, key="wrong", timeout_seconds=10)
    await street.ask(street.turn(SEARCH))
    found = await street.compared()
    assert [[row.status for row in rows if row.name == "search"] for rows, _ in found] == [["failed"], []]
    assert [len(served.search_costs_usd) for _, served in found] == [1, 0]


async def test_a_stream_that_breaks_is_estimated_from_what_came(street: Street) -> None:
    await street.ask(street.turn("lorem 600 broken"))
    (([row], served),) = await street.compared()
    assert (row.exact, row.status, row.bearer) == (False, "failed", "customer")
    assert [(request["finish"], request["completion_tokens"]) for request in served.requests] == [("cut", 300)]


async def test_side_calls_are_entered_at_the_platform_s_expense_also_lost_and_stopped_ones(street: Street) -> None:
    async def titled(turn: Turn) -> None:
        payer = replace(street.payer(turn), bearer="platform")
        agent = Agent(metered(street.settings, street.model, payer), instructions="Write a short title.")
        with suppress(Exception):  # the model's own errors: here they are not told to anybody
            await agent.run(f"{turn.mark} {SEARCH}")

    await titled(street.turn(SEARCH))
    street.fault("llm", "lost_answer")
    await titled(street.turn(SEARCH))
    task = asyncio.create_task(titled(street.turn("stopped")))
    await asyncio.sleep(0.004)
    task.cancel()
    await asyncio.wait([task])
    found = await street.compared()
    assert [(row.exact, row.status, row.bearer, row.charge_nanousd) for rows, _ in found for row in rows][:2] == [
        (True, "ok", "platform", 0), (False, "failed", "platform", 0)]


async def test_a_row_too_few_one_too_many_and_a_wrong_figure_are_noticed(street: Street) -> None:
    await street.ask(street.turn(AT_ONCE))
    ((rows, served),) = await street.compared()
    assert differences(rows, served) == []
    for at, row in enumerate(rows):
        assert differences(rows[:at] + rows[at + 1:], served), f"without {row.name}"
        assert differences([*rows[:at], row, *rows[at:]], served), f"twice {row.name}"
    dearer = rows[0].model_copy(update={"cost_usd": rows[0].cost_usd + "1"})
    longer = rows[0].model_copy(update={"quantities": {**rows[0].quantities, "output_tokens": 1}})
    found = next(row for row in rows if row.name == "search")
    search = found.model_copy(update={"cost_usd": found.cost_usd + "1"})
    assert differences([dearer, *rows[1:]], served)
    assert differences([longer, *rows[1:]], served)
    assert differences([search if row is found else row for row in rows], served)
