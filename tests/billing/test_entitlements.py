"""The verdict before a question."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing import periods
from chatapp.billing.catalog import FREE, PAY_PER_USE, PLANS, UNLIMITED, VISITOR, Plan, without_limits
from chatapp.billing.entitlements import (
    AccountUsage,
    AllowanceExhausted,
    PaymentRequired,
    QuotaReached,
    SpendingRefused,
    SpendLimitReached,
    check,
)
from chatapp.billing.money import price
from tests.billing.conftest import NOON

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
PERIOD = periods.Period(NOON - timedelta(days=10), NOON + timedelta(days=20))
USD = 10**9


def usage(**known: object) -> AccountUsage:
    return AccountUsage("a", PERIOD, **known)  # type: ignore[arg-type]  # the test's own arguments


def test_the_plans_are_those_that_were_promised() -> None:
    assert [(plan.key, [quota.limit for quota in plan.quotas], plan.billable, plan.price_usd_per_month, plan.markup)
            for plan in PLANS.values()] == [
        ("visitor", [3], False, 0, 0), ("free", [5], False, 0, 0),
        ("pay_per_use", [], True, 0, Decimal("0.20")), ("unlimited", [], False, 200, 0)]


@pytest.mark.parametrize(("plan", "next_step"), [(VISITOR, "sign_up"), (FREE, "choose_plan")])
def test_a_used_up_quota_says_when_it_resets_and_what_to_do(plan: Plan, next_step: str) -> None:
    check(plan, usage(used={"questions": plan.quotas[0].limit - 1}), NOON)
    with pytest.raises(QuotaReached) as refused:
        check(plan, usage(used={"questions": plan.quotas[0].limit}), NOON)
    assert (refused.value.resets_at, refused.value.next_step) == (MIDNIGHT, next_step)
    assert str(plan.quotas[0].limit) in refused.value.text


def test_a_failed_payment_comes_before_everything_else() -> None:
    with pytest.raises(PaymentRequired) as refused:
        check(PAY_PER_USE, usage(payment_due=True, charged_nanousd=10**12), NOON)
    assert refused.value.next_step == "update_payment"


def test_an_exhausted_allowance_resets_with_the_period() -> None:
    plan = replace(UNLIMITED, allowance_usd=Decimal(50))
    assert check(plan, usage(cost_nanousd=49 * USD, held_cost_nanousd=USD // 2), NOON).cost_budget_usd == Decimal("0.5")
    with pytest.raises(AllowanceExhausted) as refused:
        check(plan, usage(cost_nanousd=49 * USD, held_cost_nanousd=USD), NOON)
    assert refused.value.resets_at == PERIOD.end


def test_the_customers_own_spend_limit_wins_over_the_plans() -> None:
    with pytest.raises(SpendLimitReached, match=r"\$2\.00") as refused:
        check(PAY_PER_USE, usage(charged_nanousd=USD, held_nanousd=USD, spend_limit_nanousd=2 * USD), NOON)
    assert refused.value.next_step == "raise_limit"
    check(PAY_PER_USE, usage(charged_nanousd=USD, held_nanousd=USD), NOON)


def test_a_spend_limit_means_nothing_where_nothing_is_billed() -> None:
    assert check(FREE, usage(spend_limit_nanousd=0), NOON).cost_budget_usd == FREE.max_turn_cost_usd


@given(st.integers(0, 200 * USD), st.integers(0, 200 * USD), st.integers(0, 200 * USD))
def test_a_turns_budget_never_charges_past_the_spend_limit(charged: int, held: int, limit: int) -> None:
    account = usage(charged_nanousd=charged, held_nanousd=held, spend_limit_nanousd=limit)
    try:
        entitlement = check(PAY_PER_USE, account, NOON)
    except SpendLimitReached:
        assert charged + held >= limit
        return
    charge = price(entitlement.cost_budget_usd, markup=PAY_PER_USE.markup, billable=True).charge_nanousd
    assert charged + held + charge <= limit
    assert entitlement.cost_budget_usd <= PAY_PER_USE.max_turn_cost_usd


@given(st.sampled_from(list(PLANS.values())), st.integers(0, 10**15), st.booleans())
def test_without_limits_nothing_is_refused_and_billing_stays(plan: Plan, spent: int, due: bool) -> None:
    account = usage(used={"questions": 10**6}, charged_nanousd=spent, cost_nanousd=spent, payment_due=due,
                    spend_limit_nanousd=0)
    free = without_limits(plan)
    assert not check(free, account, NOON).limited
    assert (free.billable, free.markup) == (plan.billable, plan.markup)


def test_every_refusal_carries_what_the_page_shows() -> None:
    for kind in (QuotaReached, AllowanceExhausted, SpendLimitReached, PaymentRequired):
        assert issubclass(kind, SpendingRefused)


def test_a_subscription_of_the_31st_renews_on_each_months_last_day() -> None:
    start, end = datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)
    assert periods.subscription_period(start, end, datetime(2027, 2, 1, tzinfo=UTC)) == periods.Period(
        end, datetime(2027, 2, 28, tzinfo=UTC))
    assert periods.subscription_period(start, end, datetime(2027, 3, 1, tzinfo=UTC)) == periods.Period(
        datetime(2027, 2, 28, tzinfo=UTC), datetime(2027, 3, 31, tzinfo=UTC))


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 12, 31)),  # noqa: DTZ001 - made aware
       st.integers(0, 1000))
def test_every_moment_lies_in_its_period(begun: datetime, days: int) -> None:
    start = begun.replace(tzinfo=UTC)
    now = start + timedelta(days=days)
    for period in (periods.subscription_period(start, None, now), periods.month(now), periods.day(now)):
        assert period.start <= now < period.end
