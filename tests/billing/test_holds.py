"""Invariant 2: charged + held never passes what may be spent. And a crash between hold and settle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import col, select

from chatapp.billing import holds, ledger
from chatapp.billing.catalog import FREE, PAY_PER_USE, UNLIMITED, without_limits
from chatapp.billing.holds import InsufficientFunds, PlacedHold
from chatapp.billing.money import price
from chatapp.billing.pricing import UnpricedQuantity
from chatapp.billing.reconcile import local_differences
from chatapp.db import Database
from chatapp.models import Hold, OutboxMessage, UsageEvent
from tests.billing.conftest import (
    BOUND,
    CHARGE,
    PRICES,
    Place,
    balance,
    entitlement,
    new_account,
    set_limit,
    turn_total,
)


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` in that many threads; returns results and InsufficientFunds alike."""
    def one(number: int) -> object:
        try:
            return work(number)
        except InsufficientFunds as refused:
            return refused
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_a_hold_sets_the_charge_of_its_bound_aside(db: Database, account: str, place: Place) -> None:
    hold = place()
    assert (hold.amount_nanousd, hold.cost_bound_nanousd) == (CHARGE, 3_500_000)
    assert balance(db, account).held_nanousd == CHARGE
    assert balance(db, account).held_cost_nanousd == 3_500_000


def test_fifty_holds_at_once_never_pass_the_spend_limit(db: Database, account: str, place: Place) -> None:
    set_limit(db, account, 20 * CHARGE + CHARGE // 2)
    results = at_once(50, lambda number: place(turn_id=f"turn-{number}"))
    assert sum(isinstance(result, PlacedHold) for result in results) == 20
    assert balance(db, account).held_nanousd == 20 * CHARGE


def test_two_hundred_turns_at_once_never_pass_the_spend_limit_and_keep_the_totals_exact(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    limit = 50 * CHARGE
    set_limit(db, account, limit)

    def turn(number: int) -> int:
        """Two steps, the first of which may give back some of what it held; how many were allowed."""
        for step in range(2):
            try:
                hold = place(turn_id=f"turn-{number}")
            except InsufficientFunds:
                return step
            after = balance(db, account)
            assert after.charged_nanousd + after.held_nanousd <= limit
            used = {"input_tokens": 5 * number, "output_tokens": 80}
            ledger.settle(db, hold, used, exact=True, status="ok", now=now)
        return 2

    allowed = sum(int(str(steps)) for steps in at_once(200, turn))
    with db.reading() as session:
        rows = session.exec(select(UsageEvent)).all()
    after = balance(db, account)
    assert 50 <= allowed == len(rows) < 400
    assert after.held_nanousd == 0
    assert 0 < after.charged_nanousd == sum(row.charge_nanousd for row in rows) <= limit
    assert after.cost_nanousd == sum(row.cost_nanousd for row in rows)


def test_parallel_steps_of_one_turn_never_pass_the_turns_own_budget(db: Database, account: str, place: Place) -> None:
    tight = entitlement(account, budget_usd="0.011")
    results = at_once(12, lambda _: place(entitlement=tight))
    assert sum(isinstance(result, PlacedHold) for result in results) == 3
    assert balance(db, account).held_cost_nanousd == 3 * 3_500_000


def test_an_allowance_bounds_the_cost_of_usage_that_is_not_charged(db: Database, account: str, place: Place) -> None:
    plan = replace(UNLIMITED, allowance_usd=Decimal("0.01"))
    results = at_once(8, lambda number: place(entitlement=entitlement(account, plan), turn_id=f"turn-{number}"))
    assert sum(isinstance(result, PlacedHold) for result in results) == 2


def test_a_refused_hold_leaves_nothing_behind_and_says_why(db: Database, account: str, place: Place) -> None:
    set_limit(db, account, CHARGE - 1)
    with pytest.raises(InsufficientFunds) as refused:
        place()
    assert "$0.0042" in refused.value.text
    assert balance(db, account).held_nanousd == 0
    with db.reading() as session:
        assert session.exec(select(Hold)).all() == []


def test_one_accounts_spending_leaves_anothers_alone(db: Database, account: str, place: Place) -> None:
    set_limit(db, account, 0)
    other = new_account(db)
    place(entitlement=entitlement(other))
    assert balance(db, other).held_nanousd == CHARGE


def test_without_limits_nothing_is_refused_and_everything_is_still_held(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    set_limit(db, account, 0)
    free = entitlement(account, without_limits(PAY_PER_USE), "1000000")
    assert place(entitlement=free).amount_nanousd == CHARGE
    assert holds.affordable_cost_usd(db, free, "turn-1", now) > 1000


def test_what_is_affordable_can_be_held_and_not_a_nano_dollar_more(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    set_limit(db, account, 10_000_001)
    place()
    may = entitlement(account)
    left = holds.affordable_cost_usd(db, may, "turn-1", now)
    assert price(left, markup=PAY_PER_USE.markup, billable=True).charge_nanousd <= 10_000_001 - CHARGE
    with pytest.raises(InsufficientFunds):
        place(bound_cost_usd=left + Decimal("0.000000002"))
    place(bound_cost_usd=left)
    assert holds.affordable_cost_usd(db, may, "turn-1", now) == 0


def test_a_turn_without_money_of_its_own_is_bounded_by_its_plan(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    may = entitlement(account, FREE, "0.25")
    place(entitlement=may)
    assert holds.affordable_cost_usd(db, may, "turn-1", now) == Decimal("0.2465")
    assert holds.affordable_cost_usd(db, may, "turn-2", now) == Decimal("0.25")


def test_releasing_gives_everything_back_once(db: Database, account: str, place: Place) -> None:
    hold, other = place(), place()
    holds.release(db, hold)
    holds.release(db, hold)
    assert balance(db, account).held_nanousd == other.amount_nanousd


def test_a_crash_between_hold_and_settlement_leaves_the_estimate_in_the_ledger(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    hold = place()
    holds.checkpoint(db, hold, {"input_tokens": 400, "output_tokens": 30}, now)
    assert holds.sweep(db, now + holds.LEASE) == 0
    assert holds.sweep(db, now + holds.LEASE + timedelta(seconds=1)) == 1
    with db.reading() as session:
        event = session.exec(select(UsageEvent)).one()
    assert (event.id, event.status, event.exact) == (hold.id, "interrupted", False)
    assert event.quantities == {"input_tokens": 400, "output_tokens": 30}
    assert event.charge_nanousd == 1_560_000
    assert balance(db, account).held_nanousd == 0
    assert balance(db, account).charged_nanousd == 1_560_000


def test_a_checkpoint_keeps_a_living_step_from_the_sweeper(db: Database, place: Place, now: datetime) -> None:
    hold = place()
    later = now + timedelta(minutes=4)
    holds.checkpoint(db, hold, {"input_tokens": 10}, later)
    assert holds.sweep(db, later + timedelta(minutes=4)) == 0


@pytest.mark.parametrize(("step", "cost_nanousd"), [
    ({"kind": "tool", "name": "search", "prices": None, "bound_cost_usd": Decimal("0.03"),
      "quantities_bound": {"searches": 1}}, 30_000_000),
    ({}, 835_000),
], ids=["a tool", "a request whose answer had not begun"])
def test_a_step_of_a_dead_process_that_brought_nothing_is_borne_by_the_platform(
    db: Database, account: str, place: Place, now: datetime, step: dict[str, Any], cost_nanousd: int
) -> None:
    place(**step)
    holds.sweep(db, now + timedelta(hours=1))
    with db.reading() as session:
        event = session.exec(select(UsageEvent)).one()
    assert (event.status, event.exact, event.bearer, event.billable) == ("interrupted", False, "platform", False)
    assert (event.cost_nanousd, event.charge_nanousd) == (cost_nanousd, 0)
    assert (balance(db, account).held_nanousd, balance(db, account).cost_nanousd) == (0, 0)
    assert local_differences(db, now) == []


def test_of_dead_steps_the_platform_bears_a_dollar_a_day_and_no_more(db: Database, place: Place, now: datetime) -> None:
    for number in range(3):
        place(kind="tool", name="search", prices=None, bound_cost_usd=Decimal("0.5"), quantities_bound={"searches": 1},
              turn_id=f"turn-{number}")
    assert holds.sweep(db, now + timedelta(hours=1)) == 3
    with db.reading() as session:
        bearers = [event.bearer for event in session.exec(select(UsageEvent).order_by(col(UsageEvent.id)))]
    assert bearers == ["platform", "platform", "customer"]


def test_an_estimate_never_exceeds_its_hold(db: Database, place: Place, now: datetime) -> None:
    hold = place()
    holds.checkpoint(db, hold, {"input_tokens": 10**6, "output_tokens": 1}, now)
    holds.sweep(db, now + timedelta(hours=1))
    with db.reading() as session:
        event = session.exec(select(UsageEvent)).one()
    assert (event.cost_nanousd, event.charge_nanousd, event.overrun_nanousd) == (3_500_000, CHARGE, 0)


def test_sweepers_at_once_settle_a_dead_hold_once(db: Database, place: Place, now: datetime) -> None:
    for number in range(5):
        place(turn_id=f"turn-{number}")
    assert sum(int(str(n)) for n in at_once(6, lambda _: holds.sweep(db, now + timedelta(hours=1)))) == 5
    with db.reading() as session:
        assert len(session.exec(select(UsageEvent)).all()) == 5


def test_a_checkpoint_that_no_sweep_could_price_is_refused_at_once(db: Database, place: Place, now: datetime) -> None:
    with pytest.raises(UnpricedQuantity):
        holds.checkpoint(db, place(), {"audio_tokens": 3}, now)


def test_a_bound_that_has_no_price_is_refused_before_anything_is_sent(place: Place) -> None:
    with pytest.raises(UnpricedQuantity):
        place(quantities_bound={**BOUND, "audio_tokens": 3}, prices=PRICES)


def test_a_step_that_revives_while_the_sweeper_looks_is_left_alone(db: Database, place: Place, now: datetime) -> None:
    hold = place()
    with db.reading() as session:
        seen = session.get(Hold, hold.id)
    assert seen is not None
    later = now + holds.LEASE + timedelta(seconds=1)
    holds.checkpoint(db, hold, {"input_tokens": 10}, later)
    assert ledger.settle_dead(db, seen, later) is None
    assert ledger.settle(db, hold, BOUND, exact=True, status="ok", now=later).status == "ok"


def test_a_hold_that_cannot_be_settled_keeps_no_other_from_being_swept(
    db: Database, place: Place, now: datetime
) -> None:
    broken, sound = place(), place()
    with db.session() as session:
        row = session.get(Hold, broken.id)
        assert row is not None
        row.terms = {}
    assert holds.sweep(db, now + timedelta(hours=1)) == 1
    with db.reading() as session:
        assert session.get(Hold, broken.id) is not None
        assert session.get(UsageEvent, sound.id) is not None


def test_what_the_platform_bears_is_recorded_and_counts_towards_nothing_of_the_customer(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    before = holds.affordable_cost_usd(db, entitlement(account), "turn-1", now)
    hold = place(bearer="platform")
    assert holds.affordable_cost_usd(db, entitlement(account), "turn-1", now) == before
    event = ledger.settle(db, hold, BOUND, exact=True, status="ok", now=now)
    assert (event.bearer, event.billable, event.cost_nanousd, event.charge_nanousd) == ("platform", False, 3_500_000, 0)
    assert holds.affordable_cost_usd(db, entitlement(account), "turn-1", now) == before
    swept = place(bearer="platform")
    assert holds.sweep(db, now + timedelta(hours=1)) == 1
    with db.reading() as session:
        row = session.get(UsageEvent, swept.id)
    assert row is not None
    assert (row.bearer, row.charge_nanousd) == ("platform", 0)
    assert (balance(db, account).held_nanousd, balance(db, account).cost_nanousd) == (0, 0)
    assert local_differences(db, now) == []


def test_the_platform_can_take_over_a_step_that_was_held_for_the_customer(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    event = ledger.settle(db, place(), BOUND, exact=False, status="failed", bearer="platform", now=now)
    assert (event.bearer, event.billable, event.cost_nanousd, event.charge_nanousd) == ("platform", False, 3_500_000, 0)
    row = balance(db, account)
    assert (row.held_nanousd, row.held_cost_nanousd, row.charged_nanousd, row.cost_nanousd) == (0, 0, 0, 0)
    assert turn_total(db, "turn-1").cost_nanousd == 0
    with db.reading() as session:
        payload = session.exec(select(OutboxMessage)).one().payload
    assert (payload["name"], payload["metadata"]["bearer"]) == ("usage.included", "platform")
