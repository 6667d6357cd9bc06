"""Which plan an account has: our mirror of Polar's word, written only from what Polar is asked afresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, update
from sqlmodel import Session, col, select

from chatapp.billing import balances, provision
from chatapp.billing.balances import ONGOING
from chatapp.billing.catalog import FREE, PLANS, VISITOR, Plan, without_limits
from chatapp.billing.provision import Catalogue
from chatapp.billing.sql import insert, statement
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.polar_types import PolarSubscription
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import Account, Subscription
from chatapp.settings import Settings

if TYPE_CHECKING:
    from chatapp.services import Services

_log = logging.getLogger(__name__)

CHECKOUT_WATCHED = timedelta(days=30)
"""So long after a checkout was begun we keep asking whether it was paid: its webhook may never come."""
REFUSES_US = (401, 403)
"""Statuses by which Polar refuses our token or its scopes: no fault of an account or a message, and no answer."""
NONE = "none"
"""The mirror's status of an account that has never subscribed, or whose customer Polar no longer knows."""


def plan_of(db: Database, account_id: str, settings: Settings, now: datetime) -> Plan:
    """The account's plan; without its limits where the operator switched limits off."""
    with db.reading() as session:
        return plan_in(session, account_id, settings, now)


def plan_in(session: Session, account_id: str, settings: Settings, now: datetime) -> Plan:
    """`plan_of` within the caller's transaction, with the operator's spend limit where there is one."""
    plan = _subscribed(session.get(Subscription, account_id), now) or _unsubscribed(session, account_id)
    if not settings.limits:
        return without_limits(plan)
    if plan.spend_limit_usd is None:
        return plan
    begun = plan.spend_limit_usd if settings.spend_limit_usd is None else settings.spend_limit_usd
    return replace(plan, spend_limit_usd=min(begun, settings.spend_limit_max_usd))


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


async def refresh(services: Services, account_id: str) -> Plan:
    """Ask Polar for the account's subscriptions and write what it says to the mirror; return the plan.

    The list of subscriptions is asked, not the customer's state: the state is cached for up to an hour, and a
    subscription that is past due is not in it. The answer to a question asked earlier never replaces that to a later
    one, in whatever order they arrive.

    Raises:
        Unavailable, Rejected: Polar did not say; the mirror stays as it was.
    """
    asked_at = clock()
    found = await services.polar.subscriptions_of(account_id)
    return await asyncio.to_thread(_write, services, account_id, found, asked_at)


async def refresh_stale(services: Services, older_than: timedelta) -> int:
    """Refresh the subscriptions, and the checkouts of late, that no webhook has touched for so long; return how many.

    An account that fails is logged and left as it was; the others go on.

    Raises:
        Unavailable, Rejected: Polar does not answer, or refuses us: so it would for all others.
    """
    refreshed = 0
    for account_id in await asyncio.to_thread(_stale, services.db, clock(), older_than):
        try:
            await refresh(services, account_id)
        except Unavailable:
            raise
        except Exception as error:
            if isinstance(error, Rejected) and error.status in REFUSES_US:
                raise
            _log.exception("The subscription of account %s could not be refreshed.", account_id)
        else:
            refreshed += 1
    return refreshed


def note_checkout(db: Database, account_id: str, now: datetime) -> None:
    """The account is sent to a checkout: from now on its purchase is asked for, whether or not a webhook comes.

    Its row is there: whoever begins a checkout has refreshed first.
    """
    with db.session() as session:
        session.exec(update(Subscription).where(col(Subscription.account_id) == account_id).values(checkout_at=now),
                     execution_options=statement)


def _stale(db: Database, now: datetime, older_than: timedelta) -> Sequence[str]:
    watched = or_(col(Subscription.status) != NONE, col(Subscription.checkout_at) > now - CHECKOUT_WATCHED)
    with db.reading() as session:
        return session.exec(
            select(Subscription.account_id).where(Subscription.refreshed_at < now - older_than, watched)
            .order_by(col(Subscription.refreshed_at))
        ).all()


def _write(services: Services, account_id: str, found: Sequence[PolarSubscription], asked_at: datetime) -> Plan:
    with services.db.session() as session:
        catalogue = provision.required(session, services.settings)
        values = _mirror(_most_current(found, catalogue), catalogue, asked_at)
        session.exec(insert(session, Subscription).values(account_id=account_id, **values).on_conflict_do_update(
            index_elements=["account_id"], set_=values, where=col(Subscription.refreshed_at) < asked_at,
        ))
        balances.current(session, account_id, asked_at)
        return plan_in(session, account_id, services.settings, asked_at)


def _most_current(found: Sequence[PolarSubscription], catalogue: Catalogue) -> PolarSubscription | None:
    """Of our products the subscription that counts: an ongoing one before others, then the one begun last."""
    ours = [subscription for subscription in found if catalogue.plan_of(subscription.product_id)]

    def weight(subscription: PolarSubscription) -> tuple[int, datetime]:
        ongoing = {"active": 2, "trialing": 2, "past_due": 1}.get(subscription.status, 0)
        return ongoing, subscription.started_at or subscription.current_period_start

    return max(ours, key=weight, default=None)


def _mirror(subscription: PolarSubscription | None, catalogue: Catalogue, asked_at: datetime) -> dict[str, Any]:
    if subscription is None:
        return {"polar_subscription_id": "", "polar_customer_id": "", "plan": "", "status": NONE,
                "current_period_start": asked_at, "current_period_end": None, "cancel_at_period_end": False,
                "ends_at": None, "refreshed_at": asked_at}
    return {
        "polar_subscription_id": subscription.id, "polar_customer_id": subscription.customer_id,
        "plan": catalogue.plan_of(subscription.product_id) or "", "status": subscription.status,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
        "cancel_at_period_end": subscription.cancel_at_period_end, "ends_at": subscription.ends_at,
        "refreshed_at": asked_at,
    }
