"""Questions are counted once, and never beyond the quota."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from chatapp.billing import admission
from chatapp.billing.catalog import PAY_PER_USE, UNLIMITED
from chatapp.billing.entitlements import Entitlement, PaymentRequired, QuotaReached, SpendLimitReached
from chatapp.billing.status import status
from chatapp.billing.subscriptions import plan_of
from chatapp.db import Database
from chatapp.settings import Settings
from tests.billing.conftest import NOON, new_account, set_limit, subscribe


def test_of_twenty_questions_at_once_with_five_left_exactly_five_pass(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    def ask(_: int) -> Entitlement | QuotaReached:
        try:
            return admission.admit(db, settings, account, now)
        except QuotaReached as refused:
            return refused
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert sum(isinstance(answer, Entitlement) for answer in answers) == 5


def test_a_visitor_asks_three_and_signs_up_for_more(db: Database, settings: Settings, now: datetime) -> None:
    visitor = new_account(db, "visitor")
    for _ in range(3):
        assert admission.admit(db, settings, visitor, now).plan.key == "visitor"
    with pytest.raises(QuotaReached) as refused:
        admission.admit(db, settings, visitor, now)
    assert refused.value.next_step == "sign_up"


def test_the_next_day_begins_with_a_full_quota(db: Database, account: str, settings: Settings, now: datetime) -> None:
    for _ in range(5):
        admission.admit(db, settings, account, now)
    admission.admit(db, settings, account, now + timedelta(hours=12))


def test_a_question_that_failed_before_it_cost_anything_is_given_back(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    late = datetime(2026, 11, 20, 23, 59, 59, tzinfo=now.tzinfo)
    entitlements = [admission.admit(db, settings, account, late) for _ in range(5)]
    admission.give_back(db, entitlements[0])
    admission.admit(db, settings, account, late)
    with pytest.raises(QuotaReached):
        admission.admit(db, settings, account, late)


def test_a_refused_question_is_not_counted(db: Database, account: str, settings: Settings, now: datetime) -> None:
    for _ in range(5):
        admission.admit(db, settings, account, now)
    for _ in range(3):
        with pytest.raises(QuotaReached):
            admission.admit(db, settings, account, now)
    assert status(db, settings, account, now)["quotas"][0]["left"] == 0


def test_a_subscriber_has_no_quota_but_a_spend_limit(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    for _ in range(6):
        assert admission.admit(db, settings, account, now).plan == PAY_PER_USE
    set_limit(db, account, 0)
    with pytest.raises(SpendLimitReached):
        admission.admit(db, settings, account, now)


def test_a_payment_that_is_due_stops_questions_until_it_is_made(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, UNLIMITED, status="past_due")
    with pytest.raises(PaymentRequired):
        admission.admit(db, settings, account, now)
    subscribe(db, account, UNLIMITED)
    admission.admit(db, settings, account, now)


@pytest.mark.parametrize(("subscription", "plan"), [
    ("active", "unlimited"), ("trialing", "unlimited"), ("past_due", "unlimited"), ("canceled", "free"),
    ("unpaid", "free"), ("incomplete", "free"), ("paused", "free"),
])
def test_the_plan_follows_the_subscriptions_status(
    db: Database, account: str, settings: Settings, now: datetime, subscription: str, plan: str
) -> None:
    subscribe(db, account, UNLIMITED, status=subscription)
    assert plan_of(db, account, settings, now).key == plan


def test_without_limits_everyone_may_ask_for_ever(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    free = replace(settings, limits=False)
    for _ in range(12):
        assert not admission.admit(db, free, account, now).limited


def test_the_status_shows_plan_period_spending_and_what_is_left(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    admission.admit(db, settings, account, now)
    shown = status(db, settings, account, now)
    assert (shown["plan"], shown["spent"]) == ("free", "$0.00")
    assert shown["quotas"][0] | {} == {"name": "questions", "limit": 5, "left": 4, "per": "day",
                                       "resets_at": "2026-11-21T00:00:00+00:00"}
    subscribe(db, account, PAY_PER_USE, end=NOON + timedelta(days=9))
    shown = status(db, settings, account, now)
    assert (shown["plan"], shown["spend_limit"], shown["quotas"]) == ("pay_per_use", "$100.00", [])
    assert shown["resets_at"] == (NOON + timedelta(days=9)).isoformat()


def test_the_operators_spend_limit_holds_until_the_customer_chooses_another(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    operators = replace(settings, spend_limit_usd=Decimal("0.005"))
    subscribe(db, account, PAY_PER_USE)
    plan = plan_of(db, account, operators, now)
    assert (plan.key, plan.spend_limit_usd) == (PAY_PER_USE.key, Decimal("0.005"))
    assert plan_of(db, account, settings, now) == PAY_PER_USE
    assert admission.admit(db, operators, account, now).cost_budget_usd < Decimal("0.005")
    set_limit(db, account, 10**9)
    assert admission.admit(db, operators, account, now).cost_budget_usd > Decimal("0.8")
    subscribe(db, account, UNLIMITED)
    assert plan_of(db, account, operators, now) == UNLIMITED, "who pays a flat rate has no such limit"
