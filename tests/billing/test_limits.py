"""The customer's own spend limit: whatever is typed, it is an amount within bounds or stays as it was."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing import admission, limits
from chatapp.billing.catalog import PAY_PER_USE, UNLIMITED
from chatapp.billing.entitlements import SpendLimitReached
from chatapp.billing.limits import LimitRefused
from chatapp.billing.money import NANO_PER_USD
from chatapp.billing.status import status
from chatapp.billing.subscriptions import plan_of
from chatapp.db import Database
from chatapp.settings import Settings, load
from tests.billing.conftest import CHARGE, Place, balance, new_account, set_limit, subscribe

BETWEEN = r"from \$1 to \$1,000"


@pytest.mark.parametrize(("typed", "dollars"), [
    ("50", "50"), (" 49.50 ", "49.50"), ("$1,000", "1000"), ("$ 7", "7"), ("1", "1"), ("0999.9", "999.9"),
])
def test_an_amount_as_people_write_it_is_the_limit_from_now_on(
    db: Database, account: str, settings: Settings, now: datetime, typed: str, dollars: str
) -> None:
    subscribe(db, account, PAY_PER_USE)
    limit = limits.choose(db, settings, account, typed, now)
    assert limit == Decimal(dollars) * NANO_PER_USD
    assert status(db, settings, account, now)["spend_limit_nanousd"] == limit
    assert limits.choose(db, settings, account, "2", now) == 2 * NANO_PER_USD


@pytest.mark.parametrize("typed", [
    "", "0", "0.99", "1000.01", "-5", "1e2", "NaN", "50 dollars", "1,00", "1.000,50", "5.", ".5", "٥٠", "9" * 400,
    "5\x00", None, 50, 5.0, True, ["50"], {"limit": "50"},
])
def test_anything_else_is_refused_with_the_bounds_and_changes_nothing(
    db: Database, account: str, settings: Settings, now: datetime, typed: object
) -> None:
    subscribe(db, account, PAY_PER_USE)
    set_limit(db, account, 123)
    with pytest.raises(LimitRefused, match=BETWEEN):
        limits.choose(db, settings, account, typed, now)
    assert balance(db, account).spend_limit_nanousd == 123


@given(st.text())
def test_no_text_makes_a_limit_outside_the_bounds(typed: str) -> None:
    try:
        amount = limits._amount(typed, most_usd=Decimal(1000))
    except LimitRefused:
        return
    assert NANO_PER_USD <= amount <= 1000 * NANO_PER_USD


def test_a_raised_limit_lets_the_next_question_pass_and_a_lowered_one_refuses_it(
    db: Database, account: str, settings: Settings, place: Place, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    set_limit(db, account, CHARGE)
    place()
    with pytest.raises(SpendLimitReached):
        admission.admit(db, settings, account, now)
    limits.choose(db, settings, account, "1", now)
    assert admission.admit(db, settings, account, now).cost_budget_usd == Decimal("0.829833333")
    set_limit(db, account, 3 * CHARGE)
    for turn in ("turn-2", "turn-3"):
        place(turn_id=turn)
    with pytest.raises(SpendLimitReached):
        admission.admit(db, settings, account, now)


def test_only_who_pays_per_use_has_a_limit(db: Database, account: str, settings: Settings, now: datetime) -> None:
    flat = new_account(db)
    subscribe(db, flat, UNLIMITED)
    for who in (account, flat, "nobody", ""):
        with pytest.raises(LimitRefused, match="Your plan has no spending limit"):
            limits.choose(db, settings, who, "50", now)
    subscribe(db, account, PAY_PER_USE)
    with pytest.raises(LimitRefused, match="Your plan has no spending limit"):
        limits.choose(db, replace(settings, limits=False), account, "50", now)


def test_the_operator_says_how_much_can_be_chosen(db: Database, account: str, now: datetime) -> None:
    subscribe(db, account, PAY_PER_USE)
    strict = load({"LIMITS": "on", "SPEND_LIMIT_USD": "10", "SPEND_LIMIT_MAX_USD": "20"})
    assert limits.choose(db, strict, account, "20", now) == 20 * NANO_PER_USD
    with pytest.raises(LimitRefused, match=r"^Write an amount from \$1 to \$20, with a point before the cents\.$"):
        limits.choose(db, strict, account, "21", now)
    careful = load({"LIMITS": "on", "SPEND_LIMIT_USD": "500", "SPEND_LIMIT_MAX_USD": "50"})
    assert plan_of(db, account, careful, now).spend_limit_usd == 50, "nobody begins above it either"
