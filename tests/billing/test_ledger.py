"""Invariants 1 and 3: one row per step, once, never changed, and never without its message."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from chatapp.billing import balances, holds, ledger
from chatapp.billing.balances import Spent
from chatapp.billing.catalog import FREE, PAY_PER_USE
from chatapp.billing.explain import explain
from chatapp.billing.ledger import Total, UnknownHold
from chatapp.billing.pricing import UnpricedQuantity
from chatapp.billing.reconcile import local_differences
from chatapp.db import Database
from chatapp.models import OutboxMessage, UsageEvent
from tests.billing.conftest import NOON, Place, balance, entitlement, new_account, subscribe, turn_total

USED = {"input_tokens": 800, "cache_read_tokens": 100, "output_tokens": 10}
"""Costs $0.002125, is charged $0.00255."""


def _spent(db: Database, account_id: str, now: datetime) -> Spent:
    with db.reading() as session:
        return balances.spent(session, account_id, now)


def settle(db: Database, hold: holds.PlacedHold, now: datetime, **changes: object) -> UsageEvent:
    arguments = {"quantities": USED, "exact": True, "status": "ok", "now": now, **changes}
    return ledger.settle(db, hold, **arguments)  # type: ignore[arg-type]  # the test's own arguments


def test_settling_writes_the_row_its_message_and_the_totals(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    event = settle(db, place(), now)
    assert (event.cost_nanousd, event.charge_nanousd, event.overrun_nanousd) == (2_125_000, 2_550_000, 0)
    assert event.terms["prices"]["usd_per_unit"]["output_tokens"] == "0.00001"
    with db.reading() as session:
        message = session.exec(select(OutboxMessage)).one()
    assert (message.channel, message.key, message.account_id) == ("usage", event.id, account)
    assert message.payload["name"] == "usage"
    assert message.payload["numbers"] == {"charge_microusd": "2550"}
    assert message.payload["metadata"]["_llm"] == {
        "vendor": "openai", "model": "gpt-x", "input_tokens": 900, "cached_input_tokens": 100, "output_tokens": 10,
        "total_tokens": 910}
    assert Decimal(message.payload["metadata"]["_cost"]["amount"]) == Decimal("0.2125")
    assert (balance(db, account).held_nanousd, balance(db, account).charged_nanousd) == (0, 2_550_000)
    assert local_differences(db, now) == []


def test_every_kind_of_token_is_in_the_numbers_that_polar_shows(db: Database, place: Place, now: datetime) -> None:
    kinds = {"input_tokens": 1, "cache_read_tokens": 2, "cache_audio_read_tokens": 4, "input_audio_tokens": 8,
             "output_tokens": 16, "output_reasoning_tokens": 32, "output_audio_tokens": 64, "requests": 1}
    settle(db, place(prices=None), now, quantities=kinds, cost_usd=Decimal("0.001"))
    with db.reading() as session:
        message = session.exec(select(OutboxMessage)).one()
    assert {key: count for key, count in message.payload["metadata"]["_llm"].items() if key.endswith("tokens")} == {
        "input_tokens": 15, "cached_input_tokens": 6, "output_tokens": 112, "total_tokens": 127}


def test_settling_again_returns_the_row_that_is_there(db: Database, account: str, place: Place, now: datetime) -> None:
    hold = place()
    first = settle(db, hold, now)
    again = settle(db, hold, now + timedelta(seconds=9), quantities={"output_tokens": 1}, status="failed")
    assert (again.id, again.charge_nanousd, again.status) == (first.id, first.charge_nanousd, "ok")
    assert balance(db, account).charged_nanousd == first.charge_nanousd


def test_settling_in_many_threads_at_once_is_one_event(db: Database, account: str, place: Place, now: datetime) -> None:
    hold = place()
    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(lambda _: settle(db, hold, now), range(8)))
    assert {event.id for event in events} == {hold.id}
    with db.reading() as session:
        assert len(session.exec(select(UsageEvent)).all()) == len(session.exec(select(OutboxMessage)).all()) == 1
    assert balance(db, account).charged_nanousd == 2_550_000


def test_a_charge_is_never_above_its_hold_and_the_rest_is_the_platforms(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    event = settle(db, place(), now, quantities={"input_tokens": 2000})
    assert (event.cost_nanousd, event.charge_nanousd, event.overrun_nanousd) == (5_000_000, 4_200_000, 1_800_000)
    assert balance(db, account).charged_nanousd == 4_200_000
    assert balance(db, account).cost_nanousd == 5_000_000


def test_the_cost_that_a_vendor_reports_wins(db: Database, place: Place, now: datetime) -> None:
    event = settle(db, place(), now, cost_usd=Decimal("0.0010005"))
    assert (event.cost_usd, event.cost_nanousd, event.charge_nanousd) == ("0.0010005", 1_000_500, 1_200_600)


def test_a_step_of_unknown_cost_is_not_settled_for_nothing(db: Database, place: Place, now: datetime) -> None:
    hold = place(kind="tool", prices=None, bound_cost_usd=Decimal("0.01"))
    with pytest.raises(UnpricedQuantity):
        settle(db, hold, now)
    assert holds.sweep(db, now + timedelta(hours=1)) == 1
    assert turn_total(db, "turn-1").cost_nanousd == 10_000_000


def test_usage_that_a_plan_includes_is_recorded_and_never_billed(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    event = settle(db, place(entitlement=entitlement(account, FREE, "0.25")), now)
    assert (event.billable, event.cost_nanousd, event.charge_nanousd) == (False, 2_125_000, 0)
    with db.reading() as session:
        payload = session.exec(select(OutboxMessage)).one().payload
    assert (payload["name"], payload["numbers"]) == ("usage.included", {"charge_microusd": "0"})


def test_a_released_hold_cannot_be_settled(db: Database, place: Place, now: datetime) -> None:
    hold = place()
    holds.release(db, hold)
    with pytest.raises(UnknownHold):
        settle(db, hold, now)


def test_a_transaction_that_fails_leaves_neither_row_nor_message_and_the_hold_open(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    hold = place()
    with pytest.raises((DBAPIError, OverflowError)):  # no column is wide enough for this cost
        settle(db, hold, now, cost_usd=Decimal(10**15))
    assert balance(db, account).held_nanousd == hold.amount_nanousd
    with db.reading() as session:
        assert session.exec(select(UsageEvent)).all() == session.exec(select(OutboxMessage)).all() == []
    assert settle(db, hold, now).charge_nanousd == 2_550_000


@pytest.mark.parametrize("change", ["UPDATE usage_event SET charge_nanousd = 0", "DELETE FROM usage_event"])
def test_the_database_itself_refuses_to_change_a_ledger_row(
    db: Database, place: Place, now: datetime, change: str
) -> None:
    settle(db, place(), now)
    with pytest.raises(DBAPIError, match="never changes"), db.engine.begin() as connection:
        connection.execute(text(change))
    assert turn_total(db, "turn-1").charge_nanousd == 2_550_000


def test_totals_of_a_turn_say_whether_all_of_it_was_measured(db: Database, place: Place, now: datetime) -> None:
    settle(db, place(), now)
    assert turn_total(db, "turn-1") == Total(2_125_000, 2_550_000, exact=True, billable=True)
    settle(db, place(), now, exact=False, status="stopped")
    assert turn_total(db, "turn-1") == Total(4_250_000, 5_100_000, exact=False, billable=True)
    assert turn_total(db, "turn-2") == Total(0, 0, exact=True, billable=False)


def test_a_new_period_starts_at_the_subscriptions_own_boundary(
    db: Database, account: str, place: Place
) -> None:
    start = NOON - timedelta(days=3)
    subscribe(db, account, PAY_PER_USE, start=start, end=NOON + timedelta(days=1))
    settle(db, place(), NOON)
    after = NOON + timedelta(days=2)
    assert _spent(db, account, NOON) == Spent(2_125_000, 2_550_000)
    assert _spent(db, account, after) == Spent(0, 0)
    may = entitlement(account, budget_usd="500")
    assert holds.affordable_cost_usd(db, may, "turn-9", NOON) == Decimal("83.331208333")
    assert holds.affordable_cost_usd(db, may, "turn-9", after) == Decimal("83.333333333")
    settle(db, place(turn_id="turn-2", now=after), after)
    assert _spent(db, account, after) == Spent(2_125_000, 2_550_000)
    assert balance(db, account).charged_nanousd == 2_550_000
    assert balance(db, account).period_start == NOON + timedelta(days=1)
    assert [one for one in local_differences(db, after) if one.what != "undelivered"] == []  # nothing delivers here


def test_a_hold_at_the_limit_finds_the_new_period_by_itself(db: Database, account: str, place: Place) -> None:
    subscribe(db, account, PAY_PER_USE, end=NOON + timedelta(days=1))
    may = entitlement(account, budget_usd="99")
    settle(db, place(entitlement=may, bound_cost_usd=Decimal(83)), NOON, cost_usd=Decimal(83))
    with pytest.raises(holds.InsufficientFunds):
        place(entitlement=may, turn_id="turn-2", bound_cost_usd=Decimal(1))
    place(entitlement=may, turn_id="turn-2", bound_cost_usd=Decimal(1), now=NOON + timedelta(days=2))


def test_another_accounts_rows_are_in_no_total(db: Database, account: str, place: Place, now: datetime) -> None:
    settle(db, place(), now)
    assert _spent(db, new_account(db), now) == Spent(0, 0)


def test_a_charge_can_be_explained_to_the_last_digit(db: Database, place: Place, now: datetime) -> None:
    lines = explain(db, settle(db, place(), now).id)
    assert lines is not None
    assert "800 input_tokens × $0.0000025 = $0.0020000" in lines
    assert "(1 + 0.20) = $0.00255" in lines
    assert "pending" in lines
    assert explain(db, "no-such-event") is None


def test_a_settlement_during_the_roll_over_is_in_the_new_periods_totals(
    db: Database, account: str, place: Place
) -> None:
    subscribe(db, account, PAY_PER_USE, end=NOON + timedelta(days=1))
    first, second = place(), place()
    settle(db, first, NOON)
    after = NOON + timedelta(days=2)
    event = UsageEvent(id=second.id, account_id=account, turn_id="t", thread_id="t", kind="model", provider="p",
                       name="n", cost_usd="1", cost_nanousd=7, charge_nanousd=8, occurred_at=after)

    def roll_over() -> int:
        with db.session() as session:
            return balances.current(session, account, after).charged_nanousd

    with ThreadPoolExecutor(1) as pool:
        with db.session() as session:
            balances.enter(session, event)
            session.add(event)
            session.flush()
            rolling = pool.submit(roll_over)
            with pytest.raises(TimeoutError):
                rolling.result(0.1)
        assert rolling.result(20) == 8
    assert balance(db, account).charged_nanousd == 8
