"""Admission: one question's way through the checks, counted in the same transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col

from chatapp.billing import balances, entitlements, subscriptions
from chatapp.billing.catalog import Plan
from chatapp.billing.entitlements import AccountUsage, Entitlement, quota_reached, quota_window
from chatapp.billing.sql import insert, statement
from chatapp.db import Database
from chatapp.models import QuotaCount
from chatapp.settings import Settings


def admit(db: Database, settings: Settings, account_id: str, now: datetime) -> Entitlement:
    """Count a question and return what it may cost.

    Raises:
        SpendingRefused: one of its kinds, with what the person is told; nothing is counted then.
    """
    with db.session() as session:
        plan = subscriptions.plan_in(session, account_id, settings, now)
        entitlement = entitlements.check(plan, _usage(session, account_id, plan, now), now)
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
        plan = subscriptions.plan_in(session, account_id, settings, now)
        return entitlements.check(plan, _usage(session, account_id, plan, now), now)


def give_back(db: Database, account_id: str, entitlement: Entitlement, now: datetime) -> None:
    """Uncount a question whose turn failed before anything was spent. Call it once for an admission."""
    with db.session() as session:
        for name, window_start in entitlement.counted:
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


def _usage(session: Session, account_id: str, plan: Plan, now: datetime) -> AccountUsage:
    balance = balances.current(session, account_id, now)
    return AccountUsage(
        account_id=account_id, period=balances.period_of(session, account_id, now),
        used=quota_used(session, account_id, plan, now),
        charged_nanousd=balance.charged_nanousd, held_nanousd=balance.held_nanousd,
        cost_nanousd=balance.cost_nanousd, held_cost_nanousd=balance.held_cost_nanousd,
        spend_limit_nanousd=balance.spend_limit_nanousd,
        payment_due=subscriptions.payment_due(session, account_id), switching_until=balance.switching_until,
    )


def _count(session: Session, account_id: str, quota: str, window_start: datetime, limit: int) -> bool:
    counted = session.exec(insert(session, QuotaCount).values(
        account_id=account_id, quota=quota, window_start=window_start, count=1,
    ).on_conflict_do_update(
        index_elements=["account_id", "quota", "window_start"], set_={"count": QuotaCount.count + 1},
        where=col(QuotaCount.count) < limit,
    ).returning(col(QuotaCount.count)))
    return counted.first() is not None
