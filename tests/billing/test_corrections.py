"""Invariant 3: a row never changes; a correction is one row that takes it back and one that says what is right."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from chatapp.billing import corrections, delivery, holds, ledger
from chatapp.billing.catalog import FREE
from chatapp.billing.corrections import NotCorrectable
from chatapp.billing.explain import explain
from chatapp.billing.hold_rows import Bearer
from chatapp.billing.ledger import Total
from chatapp.billing.reconcile import local_differences, reconcile
from chatapp.db import Database, now
from chatapp.ids import HoldId
from chatapp.models import Hold, OutboxMessage, UsageEvent
from tests.billing.conftest import BOUND, NOON, PRICES, Place, balance, entitlement, turn_total
from tests.billing.test_delivery import polar_microusd
from tests.billing.town import Town

LATER = NOON + timedelta(hours=1)
REAL = {"input_tokens": 200, "output_tokens": 20}
"""Costs $0.0007, is charged $0.00084."""


def _rows(db: Database) -> list[UsageEvent]:
    with db.reading() as session:
        return list(session.exec(select(UsageEvent).order_by(UsageEvent.occurred_at, UsageEvent.status.desc())))  # type: ignore[attr-defined]


def _swept(db: Database, place: Place) -> holds.PlacedHold:
    """A step that a sweep took for dead as its answer had begun: its estimate costs $0.000835."""
    hold = place()
    holds.checkpoint(db, hold, {"input_tokens": 294, "output_tokens": 10}, NOON)
    assert holds.sweep(db, NOON + timedelta(minutes=30)) == 1
    return hold


def _brought_nothing(db: Database, place: Place, cost_usd: str, now: datetime) -> UsageEvent:
    """A step that the platform shall bear."""
    cost = Decimal(cost_usd)
    hold = place(bound_cost_usd=cost, prices=None)
    return ledger.settle(db, hold, {}, exact=False, status="failed", bearer="platform", cost_usd=cost, now=now)


def test_real_figures_that_come_after_a_sweep_correct_its_estimate(db: Database, account: str, place: Place) -> None:
    hold = _swept(db, place)
    [estimate] = _rows(db)
    right = ledger.settle(db, hold, REAL, exact=True, status="ok", now=LATER)
    first, reversal, corrected = _rows(db)
    assert (first.id, first.charge_nanousd) == (estimate.id, estimate.charge_nanousd), "the row stays as it was"
    assert (reversal.corrects, reversal.status) == (first.id, "reversal")
    assert reversal.charge_nanousd == -first.charge_nanousd
    assert reversal.quantities == {"input_tokens": -294, "output_tokens": -10}
    assert (corrected.id, corrected.status, corrected.exact) == (right.id, "corrected", True)
    assert (corrected.cost_nanousd, corrected.charge_nanousd, corrected.quantities) == (700_000, 840_000, REAL)
    total = turn_total(db, "turn-1")
    assert (total.cost_nanousd, total.charge_nanousd, total.exact) == (700_000, 840_000, True)
    assert balance(db, account).charged_nanousd == 840_000
    assert local_differences(db, LATER - timedelta(minutes=31)) == []


def test_figures_that_come_twice_or_in_many_threads_correct_once(db: Database, account: str, place: Place) -> None:
    hold = _swept(db, place)
    with ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(
            lambda _: ledger.settle(db, hold, REAL, exact=True, status="ok", now=LATER).id, range(6)))
    assert len(set(rows)) == 1
    assert len(_rows(db)) == 3
    assert balance(db, account).charged_nanousd == 840_000


def test_a_customer_never_pays_more_by_a_correction(db: Database, account: str, place: Place) -> None:
    hold = _swept(db, place)
    [estimate] = _rows(db)
    dear = {"input_tokens": 900, "output_tokens": 90}
    right = ledger.settle(db, hold, dear, exact=True, status="ok", now=LATER)
    assert (right.cost_nanousd, right.charge_nanousd) == (3_150_000, estimate.charge_nanousd)
    assert right.overrun_nanousd == 3_780_000 - estimate.charge_nanousd
    assert balance(db, account).charged_nanousd == estimate.charge_nanousd


def test_an_estimate_that_comes_late_changes_nothing(db: Database, place: Place) -> None:
    hold = _swept(db, place)
    assert ledger.settle(db, hold, REAL, exact=False, status="stopped", now=LATER).status == "interrupted"
    assert len(_rows(db)) == 1


def test_a_step_that_had_cost_nothing_is_taken_back_after_a_sweep(db: Database, account: str, place: Place) -> None:
    hold = _swept(db, place)
    for _ in range(2):
        holds.release(db, hold, LATER)
    assert [row.status for row in _rows(db)] == ["interrupted", "reversal", "corrected"]
    assert turn_total(db, "turn-1") == Total(0, 0, exact=True, billable=True)
    assert balance(db, account).charged_nanousd == balance(db, account).cost_nanousd == 0
    settled = ledger.settle(db, place(turn_id="turn-2"), REAL, exact=False, status="stopped", now=NOON)
    holds.release(db, replace(hold, id=HoldId(settled.id)), LATER)
    assert turn_total(db, "turn-2").charge_nanousd == settled.charge_nanousd, "what was settled stays"


def test_the_platform_takes_over_after_a_sweep_too(db: Database, account: str, place: Place) -> None:
    hold = _swept(db, place)
    right = ledger.settle(db, hold, REAL, exact=False, status="failed", bearer="platform", now=LATER)
    assert (right.bearer, right.billable, right.cost_nanousd, right.charge_nanousd) == ("platform", False, 700_000, 0)
    assert turn_total(db, "turn-1").charge_nanousd == 0
    assert balance(db, account).charged_nanousd == balance(db, account).cost_nanousd == 0
    assert local_differences(db, LATER - timedelta(minutes=31)) == []


@pytest.mark.parametrize("bearer", ["customer", "platform"])
def test_what_the_platform_bore_after_a_sweep_it_goes_on_bearing(
    db: Database, account: str, place: Place, bearer: Bearer
) -> None:
    hold = place()
    assert holds.sweep(db, NOON + timedelta(minutes=30)) == 1
    estimate = ledger.settle(db, hold, REAL, exact=False, status="stopped", bearer=bearer, now=LATER)
    assert (estimate.status, estimate.bearer) == ("interrupted", "platform"), "one estimate is as good as another"
    right = ledger.settle(db, hold, REAL, exact=True, status="ok", bearer=bearer, now=LATER)
    assert (right.status, right.exact, right.cost_nanousd) == ("corrected", True, 700_000)
    assert (right.bearer, right.billable, right.charge_nanousd, right.overrun_nanousd) == ("platform", False, 0, 0)
    assert balance(db, account).charged_nanousd == balance(db, account).cost_nanousd == 0
    assert local_differences(db, LATER - timedelta(minutes=31)) == []


def test_the_platform_bears_a_dollar_a_day_of_an_accounts_steps_and_no_more(
    db: Database, account: str, place: Place
) -> None:
    def borne(cost_usd: str, now: datetime) -> str:
        return _brought_nothing(db, place, cost_usd, now).bearer
    assert borne("1.000000001", NOON) == "customer", "not even of one step"
    assert [borne("0.5", NOON), borne("0.5", NOON), borne("0.000000001", NOON)] == ["platform", "platform", "customer"]
    assert borne("1", NOON + timedelta(days=1)) == "platform"
    assert balance(db, account).charged_nanousd == 1_200_000_002


def test_what_is_taken_back_makes_no_room_for_more_that_the_platform_bears(
    db: Database, account: str, place: Place
) -> None:
    first = _brought_nothing(db, place, "0.9", NOON - timedelta(days=2))
    corrections.correct(db, first.id, {}, Decimal(0), reason="a typo", now=NOON)
    assert [_brought_nothing(db, place, "0.9", NOON).bearer for _ in range(2)] == ["platform", "customer"]


def test_a_step_that_was_corrected_counts_once_towards_what_the_platform_bears(
    db: Database, account: str, place: Place
) -> None:
    half = Decimal("0.5")
    hold = place(bound_cost_usd=half, prices=None, quantities_bound={"calls": 1})
    assert holds.sweep(db, NOON + timedelta(minutes=30)) == 1
    for _ in range(2):
        late = ledger.settle(db, hold, {"calls": 1}, exact=True, status="ok", cost_usd=half, now=LATER)
        assert (late.status, late.bearer) == ("corrected", "platform")
    assert _brought_nothing(db, place, "0.5", LATER).bearer == "platform"


def test_the_same_late_figures_again_find_the_row_that_stands(db: Database, account: str, place: Place) -> None:
    hold = place(bound_cost_usd=Decimal("0.6"), prices=None, quantities_bound={"calls": 1})
    assert _brought_nothing(db, place, "0.9", NOON).bearer == "platform"
    assert holds.sweep(db, NOON + timedelta(minutes=30)) == 1
    tomorrow = NOON + timedelta(days=2)
    found = [ledger.settle(db, hold, {"calls": 1}, exact=False, status="failed", bearer="platform",
                           cost_usd=Decimal("0.6"), now=tomorrow) for _ in range(3)]
    assert {(row.id, row.status, row.bearer) for row in found} == {(found[0].id, "corrected", "platform")}


def test_a_late_word_that_the_platform_pays_is_bounded_too(db: Database, account: str, place: Place) -> None:
    for dollars, bearer in (("0.8", "platform"), ("0.9", "customer")):
        hold = place(bound_cost_usd=Decimal(dollars), prices=None, quantities_bound={"calls": 1})
        assert holds.sweep(db, NOON + timedelta(minutes=30)) == 1
        late = ledger.settle(db, hold, {"calls": 1}, exact=False, status="failed", bearer="platform",
                             cost_usd=Decimal(dollars), now=LATER)
        assert (late.status, late.bearer) == ("interrupted", bearer)
    assert balance(db, account).charged_nanousd == 1_080_000_000
    assert local_differences(db, LATER - timedelta(minutes=31)) == []


def test_an_operator_can_correct_a_row_and_the_corrected_row_again(db: Database, account: str, place: Place) -> None:
    wrong = ledger.settle(db, place(), REAL, exact=True, status="ok", now=NOON)
    first = corrections.correct(db, wrong.id, {"output_tokens": 1}, Decimal("0.00001"), reason="a typo", now=LATER)
    with pytest.raises(NotCorrectable, match=f"correct {first.id}"):
        corrections.correct(db, wrong.id, REAL, Decimal(9), reason="again", now=LATER)
    second = corrections.correct(db, first.id, {}, Decimal(0), reason="a gift", now=LATER)
    assert (second.charge_nanousd, second.terms["reason"], balance(db, account).charged_nanousd) == (0, "a gift", 0)
    [reversal] = [row for row in _rows(db) if row.corrects == wrong.id and row.status == "reversal"]
    for impossible in (reversal.id, "01a1f999-fde9-75b8-b238-8afaa570d8a5", "nonsense"):
        with pytest.raises(NotCorrectable):
            corrections.correct(db, impossible, {}, Decimal(0), reason="no", now=LATER)
    with pytest.raises(ValueError, match="is no price"):
        corrections.correct(db, second.id, {}, Decimal(-1), reason="no", now=LATER)


def test_a_correction_counts_in_the_period_in_which_it_is_entered(db: Database, account: str, place: Place) -> None:
    wrong = ledger.settle(db, place(), REAL, exact=True, status="ok", now=NOON)
    next_month = NOON + timedelta(days=30)
    corrections.correct(db, wrong.id, {}, Decimal(0), reason="a gift", now=next_month)
    assert balance(db, account).charged_nanousd == -840_000
    assert [one for one in local_differences(db, next_month) if one.what != "undelivered"] == []


def test_usage_that_is_included_is_corrected_in_its_cost(db: Database, account: str, place: Place) -> None:
    hold = place(entitlement=entitlement(account, FREE, "0.25"))
    holds.checkpoint(db, hold, {"input_tokens": 294, "output_tokens": 10}, NOON)
    holds.sweep(db, NOON + timedelta(minutes=30))
    right = ledger.settle(db, hold, REAL, exact=True, status="ok", now=LATER)
    assert (right.billable, right.cost_nanousd, right.charge_nanousd, right.overrun_nanousd) == (False, 700_000, 0, 0)
    assert balance(db, account).cost_nanousd == 700_000


async def test_polar_receives_both_rows_and_their_sum_is_the_right_charge(town: Town, account: str) -> None:
    hold = holds.place(
        town.db, entitlement(account), turn_id="turn", thread_id="thread", kind="model", provider="openai",
        name="gpt-x", prices=PRICES, bound_cost_usd=Decimal("0.0035"), quantities_bound=BOUND, now=now())
    holds.checkpoint(town.db, hold, {"input_tokens": 294, "output_tokens": 10}, now())
    with town.db.session() as session:
        session.get_one(Hold, hold.id).lease_until = now() - timedelta(seconds=1)
    assert holds.sweep(town.db, now()) == 1
    ledger.settle(town.db, hold, REAL, exact=True, status="ok", now=now())
    assert await delivery.deliver(town.services) == 3
    assert await polar_microusd(town, account) == Decimal(840)
    assert await reconcile(town.services) == []


def test_a_reversal_explains_itself(db: Database, place: Place) -> None:
    hold = _swept(db, place)
    ledger.settle(db, hold, REAL, exact=True, status="ok", now=LATER)
    with db.reading() as session:
        assert len(session.exec(select(OutboxMessage)).all()) == 3
    for row in _rows(db):
        text = explain(db, row.id)
        assert text is not None
        assert str(row.id)[:8] in text or row.status in text
