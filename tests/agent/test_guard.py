"""A guard around any paid action: refused before it is done, and billed once it is."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from chatapp.agent.guard import guard
from chatapp.billing import holds
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.entitlements import QuotaReached, SpendLimitReached
from chatapp.billing.hold_rows import LEASE
from chatapp.billing.holds import InsufficientFunds
from chatapp.billing.ingestion import PolarIngestion, UnknownAccount
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import Balance, Hold, QuotaCount, UsageEvent
from chatapp.settings import Settings
from tests.billing.conftest import new_account, set_limit, subscribe
from tests.conftest import ROOT

BOUND = Decimal("0.40")
NANO = 10**9


@pytest.fixture
def ingestion(db: Database, settings: Settings) -> PolarIngestion:
    return PolarIngestion(db, settings)


@pytest.fixture
def account(db: Database) -> str:
    """Pays as it goes, at 20 %."""
    account_id = new_account(db)
    subscribe(db, account_id, PAY_PER_USE, start=clock() - timedelta(days=3))
    return account_id


async def render(
    ingestion: PolarIngestion, account_id: str, cost_usd: str | None = None, *, bound: Decimal = BOUND,
    error: BaseException | None = None, free: bool = False,
) -> str:
    async with guard(ingestion, account_id, provider="fal", name="render", at_most_usd=bound) as action:
        await asyncio.sleep(0)
        if cost_usd is not None:
            action.costs(Decimal(cost_usd))
        if free:
            action.was_free()
        if error is not None:
            raise error
    return action.id


def ledger(db: Database) -> list[UsageEvent]:
    with db.reading() as session:
        return list(session.exec(select(UsageEvent)).all())


def assert_nothing_held(db: Database) -> None:
    with db.reading() as session:
        assert session.exec(select(Hold)).all() == []
        assert sum(session.exec(select(Balance.held_nanousd)).all()) == 0


async def test_an_action_is_billed_what_it_says_it_cost(ingestion: PolarIngestion, account: str) -> None:
    event_id = await render(ingestion, account, "0.25")
    (row,) = ledger(ingestion.db)
    assert (row.id, row.provider, row.name, row.kind, row.status, row.exact) == (
        event_id, "fal", "render", "tool", "ok", True)
    assert (row.cost_nanousd, row.charge_nanousd) == (NANO // 4, NANO * 3 // 10)
    assert_nothing_held(ingestion.db)


async def test_an_action_that_says_nothing_may_have_cost_its_bound(ingestion: PolarIngestion, account: str) -> None:
    await render(ingestion, account)
    with pytest.raises(TimeoutError, match="no answer"):
        await render(ingestion, account, error=TimeoutError("no answer"))
    with pytest.raises(asyncio.CancelledError):
        await render(ingestion, account, error=asyncio.CancelledError())
    assert sorted((row.status, row.exact, row.cost_nanousd) for row in ledger(ingestion.db)) == [
        (status, False, NANO * 4 // 10) for status in ("failed", "ok", "stopped")]
    assert_nothing_held(ingestion.db)


async def test_a_cost_that_was_told_before_an_exception_stands(ingestion: PolarIngestion, account: str) -> None:
    with pytest.raises(ValueError, match="the picture is black"):
        await render(ingestion, account, "0.01", error=ValueError("the picture is black"))
    (row,) = ledger(ingestion.db)
    assert (row.status, row.exact, row.cost_nanousd) == ("failed", True, NANO // 100)


async def test_an_action_that_was_free_leaves_nothing_and_counts_for_nothing(
    ingestion: PolarIngestion, account: str
) -> None:
    visitor = new_account(ingestion.db)
    for who in (account, visitor):
        with pytest.raises(ConnectionError, match="refused"):
            await render(ingestion, who, free=True, bound=Decimal("0.05"), error=ConnectionError("refused"))
    assert ledger(ingestion.db) == []
    assert_nothing_held(ingestion.db)
    with ingestion.db.reading() as session:
        assert [row.count for row in session.exec(select(QuotaCount)).all()] == [0]


async def test_what_is_above_the_bound_is_charged_to_no_customer(ingestion: PolarIngestion, account: str) -> None:
    await render(ingestion, account, "0.50")
    (row,) = ledger(ingestion.db)
    assert (row.cost_nanousd, row.charge_nanousd, row.overrun_nanousd) == (
        NANO // 2, NANO * 48 // 100, NANO * 12 // 100)


async def test_guards_at_once_never_pass_the_limit(ingestion: PolarIngestion, account: str) -> None:
    set_limit(ingestion.db, account, 5 * NANO)
    done: list[int] = []
    highest = 0

    async def one() -> None:
        nonlocal highest
        async with guard(ingestion, account, provider="fal", name="render", at_most_usd=BOUND) as action:
            done.append(1)
            with ingestion.db.reading() as session:
                balance = session.get(Balance, account)
                assert balance is not None
                highest = max(highest, balance.charged_nanousd + balance.held_nanousd)
            action.costs(BOUND)

    outcomes = await asyncio.gather(*(one() for _ in range(40)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert {type(error) for error in refused} <= {InsufficientFunds, SpendLimitReached}
    assert len(done) == 40 - len(refused) == 10, "ten times $0.48 are $4.80, and an eleventh does not fit into $5"
    assert highest <= 5 * NANO
    assert sum(row.charge_nanousd for row in ledger(ingestion.db)) == 4_800_000_000
    assert_nothing_held(ingestion.db)


async def test_what_does_not_fit_is_refused_before_anything_is_done(ingestion: PolarIngestion, account: str) -> None:
    done: list[int] = []
    set_limit(ingestion.db, account, NANO)

    async def work(bound: object, who: str = account) -> None:
        async with guard(ingestion, who, provider="fal", name="render", at_most_usd=bound):  # type: ignore[arg-type]
            done.append(1)
    with pytest.raises(InsufficientFunds, match="more than what is left"):
        await work(Decimal(1))
    for wrong in (0.4, Decimal(-1), Decimal("NaN"), True):
        with pytest.raises(ValueError, match="dollars"):
            await work(wrong)
    with pytest.raises(UnknownAccount):
        await work(BOUND, "nobody")
    set_limit(ingestion.db, account, 0)
    with pytest.raises(SpendLimitReached):
        await work(BOUND)
    assert (done, ledger(ingestion.db)) == ([], [])
    assert_nothing_held(ingestion.db)


async def test_an_action_counts_as_a_question_where_questions_are_counted(
    ingestion: PolarIngestion
) -> None:
    person = new_account(ingestion.db)
    for _ in range(5):
        await render(ingestion, person, "0.01", bound=Decimal("0.02"))
    with pytest.raises(QuotaReached):
        await render(ingestion, person, "0.01", bound=Decimal("0.02"))
    other = new_account(ingestion.db)
    with pytest.raises(InsufficientFunds):
        await render(ingestion, other, bound=Decimal(9))
    for _ in range(5):
        await render(ingestion, other, "0.01", bound=Decimal("0.02"))
    assert len(ledger(ingestion.db)) == 10


async def test_a_cost_that_is_no_amount_is_refused_and_the_bound_stands(
    ingestion: PolarIngestion, account: str
) -> None:
    with pytest.raises(ValueError, match="has to be a Decimal"):
        async with guard(ingestion, account, provider="fal", name="render", at_most_usd=BOUND) as action:
            action.costs(0.1)  # type: ignore[arg-type]
    assert [row.cost_nanousd for row in ledger(ingestion.db)] == [NANO * 4 // 10]


async def test_a_cancel_at_any_moment_leaves_no_hold(ingestion: PolarIngestion, account: str) -> None:
    async def one() -> None:
        async with guard(ingestion, account, provider="fal", name="render", at_most_usd=Decimal("0.01")) as action:
            action.costs(Decimal("0.01"))
            await asyncio.sleep(0.01)
    for moment in range(25):
        task = asyncio.create_task(one())
        await asyncio.sleep(moment * 0.002)
        task.cancel()
        await asyncio.wait([task])
        assert_nothing_held(ingestion.db)
    assert ledger(ingestion.db)


KILLED = """
import asyncio, os, signal, sys
from decimal import Decimal
from chatapp.agent.guard import guard
from chatapp.billing.ingestion import PolarIngestion
from chatapp.db import Database
from chatapp.settings import load

async def main(url, account):
    ingestion = PolarIngestion(Database(url), load({"LIMITS": "on"}))
    async with guard(ingestion, account, provider="fal", name="render", at_most_usd=Decimal("0.40")):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_action_whose_process_was_killed_is_entered_with_its_bound_and_billed_to_nobody(
    ingestion: PolarIngestion, account: str
) -> None:
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, ingestion.db.url, account], cwd=ROOT, check=False)
    assert run.returncode == -signal.SIGKILL
    assert holds.sweep(ingestion.db, clock()) == 0
    assert holds.sweep(ingestion.db, clock() + LEASE + timedelta(seconds=1)) == 1
    (row,) = ledger(ingestion.db)
    assert (row.status, row.exact, row.cost_nanousd) == ("interrupted", False, NANO * 4 // 10)
    assert (row.bearer, row.charge_nanousd) == ("platform", 0)
    assert_nothing_held(ingestion.db)
