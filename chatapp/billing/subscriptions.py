"""Which plan an account has: our mirror of Polar's word, written only from what Polar is asked afresh."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from chatapp.billing.balances import ONGOING
from chatapp.billing.catalog import FREE, PLANS, VISITOR, Plan, without_limits
from chatapp.db import Database
from chatapp.models import Account, Subscription
from chatapp.settings import Settings


def plan_of(db: Database, account_id: str, settings: Settings, now: datetime) -> Plan:
    """The account's plan; without its limits where the operator switched limits off."""
    with db.reading() as session:
        return plan_in(session, account_id, settings, now)


def plan_in(session: Session, account_id: str, settings: Settings, now: datetime) -> Plan:
    """`plan_of` within the caller's transaction."""
    plan = _subscribed(session.get(Subscription, account_id), now) or _unsubscribed(session, account_id)
    return plan if settings.limits else without_limits(plan)


def payment_due(session: Session, account_id: str) -> bool:
    """Whether Polar is still trying to collect a failed payment."""
    found = session.get(Subscription, account_id)
    return found is not None and found.status == "past_due"


def _subscribed(subscription: Subscription | None, now: datetime) -> Plan | None:
    """The plan of an ongoing subscription. One that is only to be cancelled goes on until it ends."""
    if subscription is None or subscription.status not in ONGOING:
        return None
    if subscription.ends_at is not None and subscription.ends_at <= now:
        return None
    return PLANS.get(subscription.plan)


def _unsubscribed(session: Session, account_id: str) -> Plan:
    account = session.get(Account, account_id)
    return VISITOR if account is None or account.kind == "visitor" else FREE
