"""The price of a question before it is asked: never passed, usual where there is a usual, and found at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlmodel import select

from chatapp.billing import admission, holds, ledger, quotes
from chatapp.billing.catalog import FREE, PAY_PER_USE, UNLIMITED, Plan
from chatapp.billing.money import price, usd
from chatapp.billing.quotes import FEWEST, ROUNDING_NANOUSD, SIMILAR, Quote
from chatapp.db import Database
from chatapp.ids import new_id
from chatapp.models import Message, Thread, Turn, UsageEvent
from chatapp.settings import Settings
from chatapp.state.price import in_words
from tests.billing.conftest import NOON, PRICES, Place, entitlement, new_account, set_limit, subscribe

SIX_USD = 6_000_000_000
"""What a question of a pay-per-use account may be charged: $5 and 20 %."""


@pytest.fixture
def payer(db: Database, account: str) -> str:
    """An account that pays per use."""
    subscribe(db, account, PAY_PER_USE)
    return account


def answered(
    db: Database, account_id: str, cost_nanousd: int, *, model: str = "emulated-model", status: str = "done",
    plan: Plan = PAY_PER_USE, at: datetime = NOON,
) -> str:
    """An answer with one step in the ledger, as a turn leaves them; returns its id."""
    turn_id = new_id()
    may = entitlement(account_id, plan)
    with db.session() as session:
        thread = Thread(account_id=account_id)
        session.add(thread)
        session.flush()
        session.add(Message(id=turn_id, thread_id=thread.id, account_id=account_id, role="assistant", model=model,
                            status=status, plan=plan.key, cost_nanousd=cost_nanousd))
    hold = holds.place(db, may, turn_id=turn_id, thread_id="t", kind="model", provider="openai", name=model,
                       prices=PRICES, bound_cost_usd=usd(cost_nanousd), quantities_bound={}, now=at)
    ledger.settle(db, hold, {}, exact=True, status="ok", cost_usd=usd(cost_nanousd), now=at)
    return turn_id


def quoted(db: Database, settings: Settings, account_id: str, now: datetime = NOON) -> Quote:
    return quotes.quote(db, settings, account_id, now)


def test_a_payers_question_costs_at_most_the_plans_budget_and_the_markup(
    db: Database, payer: str, settings: Settings
) -> None:
    found = quoted(db, settings, payer)
    assert found == Quote(settings.model, True, SIX_USD + ROUNDING_NANOUSD, None, 0)
    assert in_words(found) == "At most $6.00"


def test_the_bound_is_lowered_to_what_is_left_of_the_spend_limit(
    db: Database, payer: str, settings: Settings, place: Place
) -> None:
    set_limit(db, payer, 100_000_000)
    place()  # sets $0.0042 aside
    answered(db, payer, 10_000_000)  # and $0.012 is charged
    found = quoted(db, settings, payer)
    assert found.at_most_nanousd is not None
    assert 100_000_000 - 16_200_000 - ROUNDING_NANOUSD <= found.at_most_nanousd <= 100_000_000 - 16_200_000
    assert in_words(found) == "At most $0.09"


def test_nothing_can_be_asked_for_where_the_limit_is_reached(db: Database, payer: str, settings: Settings) -> None:
    set_limit(db, payer, 0)
    assert quoted(db, settings, payer).at_most_nanousd == 0
    assert in_words(quoted(db, settings, payer)) == ""
    subscribe(db, payer, PAY_PER_USE, status="past_due")
    assert quoted(db, settings, payer).at_most_nanousd == 0


@pytest.mark.parametrize(("limit_nanousd", "each_usd"), [
    (8_400_001, "0.000700003"), (41_234_567, "0.000700003"), (None, "0.070000003"),
])
def test_whatever_a_turn_does_it_is_never_charged_more_than_was_quoted(
    db: Database, payer: str, settings: Settings, limit_nanousd: int | None, each_usd: str
) -> None:
    """Many steps, each of a cost whose charge is rounded up, until nothing more fits."""
    if limit_nanousd is not None:
        set_limit(db, payer, limit_nanousd)
    most = quoted(db, settings, payer).at_most_nanousd
    assert most is not None
    may = admission.admit(db, settings, payer, NOON)
    charged, steps = 0, 0
    while (left := holds.affordable_cost_usd(db, may, "turn", NOON)) > 0:
        cost = min(Decimal(each_usd), left)
        hold = holds.place(db, may, turn_id="turn", thread_id="t", kind="tool", provider="valyu", name="search",
                           prices=None, bound_cost_usd=cost, quantities_bound={"searches": 1}, now=NOON)
        charged += ledger.settle(db, hold, {"searches": 1}, exact=True, status="ok", cost_usd=cost,
                                 now=NOON).charge_nanousd
        steps += 1
    assert most - 2 * ROUNDING_NANOUSD <= charged <= most
    assert steps > 9


def test_usual_is_the_median_of_the_similar_turns_at_the_present_markup(
    db: Database, payer: str, settings: Settings
) -> None:
    for cost in (9_000_000, 20_000_000):
        answered(db, payer, cost)
    assert quoted(db, settings, payer).usual_nanousd is None, "two turns have no usual cost"
    answered(db, payer, 500_000_000)
    found = quoted(db, settings, payer)
    assert (found.usual_nanousd, found.similar) == (24_000_000, FEWEST)
    assert in_words(found) == "Usually about $0.024, at most $6.00"
    assert found.as_json() | {"at_most_nanousd": 0, "model": ""} == {
        "model": "", "billable": True, "similar": 3, "at_most_nanousd": 0, "at_most": "$6.00",
        "usual_nanousd": 24_000_000, "usual": "$0.024"}


def test_only_whole_answers_of_the_same_model_and_account_are_similar(
    db: Database, payer: str, settings: Settings
) -> None:
    for cost in (10_000_000, 20_000_000, 30_000_000):
        answered(db, payer, cost)
        answered(db, payer, 900_000_000, model="another-model")
        answered(db, payer, 800_000_000, status="stopped")
        answered(db, payer, 700_000_000, status="streaming")
        answered(db, new_account(db), 600_000_000)
    found = quoted(db, settings, payer)
    assert (found.usual_nanousd, found.similar) == (24_000_000, 3)


def test_the_latest_turns_count_and_older_ones_do_not(db: Database, payer: str, settings: Settings) -> None:
    for number in range(5):
        answered(db, payer, 900_000_000, at=NOON - timedelta(hours=2, minutes=number))
    for number in range(SIMILAR):
        answered(db, payer, 10_000_000, at=NOON + timedelta(seconds=number))
    found = quoted(db, settings, payer, NOON + timedelta(minutes=1))
    assert (found.usual_nanousd, found.similar) == (12_000_000, SIMILAR)


@pytest.mark.parametrize("plan", [FREE, UNLIMITED])
def test_an_included_question_is_quoted_with_what_it_would_cost_and_nothing_is_shown(
    db: Database, account: str, settings: Settings, plan: Plan
) -> None:
    if plan is UNLIMITED:
        subscribe(db, account, plan)
    for cost in (10_000_000, 20_000_000, 30_000_000):
        answered(db, account, cost, plan=plan)
    found = quoted(db, settings, account)
    most = price(plan.max_turn_cost_usd, markup=plan.markup, billable=True).charge_nanousd
    assert found == Quote(settings.model, False, most + ROUNDING_NANOUSD, 20_000_000, 3)
    assert in_words(found) == ""


def test_without_limits_there_is_a_usual_price_and_no_bound(db: Database, payer: str, settings: Settings) -> None:
    free = replace(settings, limits=False)
    assert (quoted(db, free, payer).at_most_nanousd, in_words(quoted(db, free, payer))) == (None, "")
    for _ in range(3):
        answered(db, payer, 10_000_000)
    assert in_words(quoted(db, free, payer)) == "Usually about $0.012"


@pytest.mark.parametrize(("most", "usual", "words"), [
    (41_000_000, 12_000_000, "Usually about $0.012, at most $0.05"),
    (50_000_000, 12_000_000, "Usually about $0.012, at most $0.05"),
    (50_000_000 + ROUNDING_NANOUSD, 60_000_000, "At most $0.05"),
    (1, None, "At most $0.00"),
    (6_004_000_000, None, "At most $6.01"),
])
def test_a_bound_is_rounded_up_and_a_usual_price_above_it_is_not_told(
    most: int, usual: int | None, words: str
) -> None:
    assert in_words(Quote("m", True, most, usual, 20)) == words


def test_a_quote_waits_for_no_writer_and_writes_nothing(db: Database, payer: str, settings: Settings) -> None:
    answered(db, payer, 10_000_000)
    with db.session() as session:  # an answer's step is being entered at this moment
        session.add(Turn(id="t", account_id=payer, thread_id="t", runner="r", lease_until=NOON))
        session.flush()
        with statements(db) as seen:
            quoted(db, settings, payer)
    assert seen
    assert all(statement.startswith("SELECT") and "FOR UPDATE" not in statement for statement, _ in seen)


def test_a_quote_takes_the_same_few_rows_however_large_the_ledger_is(
    db: Database, payer: str, settings: Settings
) -> None:
    answered(db, payer, 10_000_000)
    with db.reading() as session:
        step, turn = session.exec(select(UsageEvent)).one().model_dump(), session.exec(select(Message)).one()
    others = [new_account(db) for _ in range(3)]
    steps = [{**step, "id": new_id(), "turn_id": new_id(), "account_id": (payer, *others)[number % 4],
              "occurred_at": NOON - timedelta(seconds=number)} for number in range(1, 8_001)]
    with db.session() as session:
        connection = session.connection()
        connection.execute(insert(Message), [{**turn.model_dump(), "id": each["turn_id"],
                                              "account_id": each["account_id"]} for each in steps])
        connection.execute(insert(UsageEvent), steps)
    if not db.is_sqlite:  # Postgres keeps its statistics by itself, within minutes; SQLite has none
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    with statements(db) as seen:
        assert quoted(db, settings, payer).similar == SIMILAR
    looked_at = {table: explained(db, *found) for table in ("usage_event", "message")
                 for found in seen if f"FROM {table}" in found[0] and "sum(" not in found[0]}
    assert "ix_usage_event_account_time" in looked_at["usage_event"], looked_at
    assert re.search("sqlite_autoindex_message_1|message_pkey", looked_at["message"]), looked_at
    assert not re.search("sort|b-tree|scan on|scan message|scan usage", str(looked_at).lower().replace(
        "bitmap heap scan on", "").replace("bitmap index scan on", "")), looked_at


@contextmanager
def statements(db: Database) -> Iterator[list[tuple[str, Any]]]:
    """The SQL that is sent within the block, with its parameters, without its BEGIN."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def explained(db: Database, statement: str, parameters: Any) -> str:
    """The database's own plan of a statement."""
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql(("EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN ") + statement,
                                          parameters).all()
    return "\n".join(str(row[-1]) for row in rows)
