"""Admission: one question's way through the checks, counted in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, bindparam, update
from sqlmodel import Session, col, select

from chatapp.billing import balances, entitlements, periods, subscriptions
from chatapp.billing.catalog import Plan
from chatapp.billing.entitlements import AccountUsage, Entitlement, quota_reached, quota_window
from chatapp.billing.periods import Period
from chatapp.billing.sql import for_each_dialect, run, statement
from chatapp.db import Database
from chatapp.models import Account, Balance, QuotaCount, Subscription
from chatapp.settings import Settings

_ACCOUNT = (
    select(Balance, Subscription, Account).select_from(Account)
    .join(Balance, col(Balance.account_id) == col(Account.id), isouter=True)
    .join(Subscription, col(Subscription.account_id) == col(Account.id), isouter=True)
    .where(col(Account.id) == bindparam("account_id"))
)


def _counting(insert: Any) -> Executable:  # noqa: ANN401 - the dialects' functions share no type
    """Count one more in a quota's window unless it is full; a row comes back if it was counted."""
    made: Executable = insert(QuotaCount).values(
        account_id=bindparam("account_id"), quota=bindparam("quota"), window_start=bindparam("window_start"), count=1,
    ).on_conflict_do_update(
        index_elements=["account_id", "quota", "window_start"], set_={"count": QuotaCount.count + 1},
        where=col(QuotaCount.count) < bindparam("limit"),
    ).returning(col(QuotaCount.count))
    return made


_COUNTING = for_each_dialect(_counting)


def admit(db: Database, settings: Settings, account_id: str, now: datetime) -> Entitlement:
    """Count a question and return what it may cost.

    No lock is taken to look: what is admitted here is spent by holds, and each of them asks the limits again under the
    account's lock.

    Raises:
        SpendingRefused: one of its kinds, with what the person is told; nothing is counted then.
    """
    with db.reading() as session:
        standing = _standing(session, settings, account_id, now)
    if standing is None:
        with db.session() as session:
            standing = _begin_period(session, settings, account_id, now)
    plan, usage = standing
    entitlement = entitlements.check(plan, usage, now)
    if plan.quotas:
        with db.session() as session:
            for quota in plan.quotas:
                if not _count(session, account_id, quota.name, quota_window(quota, now).start, quota.limit):
                    raise quota_reached(plan, quota, now)
    return entitlement


def verdict(db: Database, settings: Settings, account_id: str, now: datetime) -> Entitlement:
    """What `admit` would say, without counting anything: for showing, never for admitting.

    Raises:
        SpendingRefused: as `admit`.
    """
    with db.session() as session:
        plan, usage = _begin_period(session, settings, account_id, now)
        return entitlements.check(plan, replace(usage, used=quota_used(session, account_id, plan, now)), now)


def give_back(db: Database, entitlement: Entitlement) -> None:
    """Uncount a question that was not even begun. Call it once for an admission."""
    with db.session() as session:
        uncount(session, [(entitlement.account_id, *window) for window in entitlement.counted])


def uncount(session: Session, counted: Iterable[tuple[str, str, datetime]]) -> None:
    """Uncount a question in the caller's transaction: in each account, quota and window that it was counted in."""
    for account_id, name, window_start in counted:
        session.exec(
            update(QuotaCount)
            .where(col(QuotaCount.account_id) == account_id, col(QuotaCount.quota) == name,
                   col(QuotaCount.window_start) == window_start, col(QuotaCount.count) > 0)
            .values(count=QuotaCount.count - 1), execution_options=statement,
        )


def quota_used(session: Session, account_id: str, plan: Plan, now: datetime) -> dict[str, int]:
    """How much of each of the plan's quotas is used in its current window."""
    used = {}
    for quota in plan.quotas:
        row = session.get(QuotaCount, (account_id, quota.name, quota_window(quota, now).start))
        used[quota.name] = 0 if row is None else row.count
    return used


_Standing = tuple[Plan, AccountUsage]
"""An account's plan, and what it has spent; without its quotas, which are counted and checked by one statement."""


def _standing(session: Session, settings: Settings, account_id: str, now: datetime) -> _Standing | None:
    """All that the check needs, in one statement; None where the totals are not those of the present period."""
    found = session.exec(_ACCOUNT, params={"account_id": account_id}).one_or_none()
    if found is None:
        return None
    balance, subscription, _ = found
    # What was just read is in the session: none of these asks the database again for an account that has subscribed.
    period = periods.month(now) if subscription is None else balances.period_of(session, account_id, now)
    if balance is None or balance.period_start != period.start:
        return None
    plan = subscriptions.plan_in(session, account_id, settings, now)
    due = subscription is not None and subscriptions.payment_due(session, account_id)
    return plan, _usage(balance, period, payment_due=due)


def _begin_period(session: Session, settings: Settings, account_id: str, now: datetime) -> _Standing:
    """The same for an account's first question, and the first of each period."""
    balance = balances.current(session, account_id, now)
    period = balances.period_of(session, account_id, now)
    usage = _usage(balance, period, payment_due=subscriptions.payment_due(session, account_id))
    return subscriptions.plan_in(session, account_id, settings, now), usage


def _usage(balance: Balance, period: Period, *, payment_due: bool) -> AccountUsage:
    return AccountUsage(
        account_id=balance.account_id, period=period,
        charged_nanousd=balance.charged_nanousd, held_nanousd=balance.held_nanousd,
        cost_nanousd=balance.cost_nanousd, held_cost_nanousd=balance.held_cost_nanousd,
        spend_limit_nanousd=balance.spend_limit_nanousd, payment_due=payment_due,
        switching_until=balance.switching_until,
    )


def _count(session: Session, account_id: str, quota: str, window_start: datetime, limit: int) -> bool:
    counted = run(session, _COUNTING, {
        "account_id": account_id, "quota": quota, "window_start": window_start, "limit": limit})
    return counted.first() is not None
