"""Reconciliation: the ledger, the outbox, the running totals and Polar's meter, held against each other."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import func
from sqlmodel import Session, and_, col, or_, select

from chatapp.billing import balances, provision
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.db import Database, now
from chatapp.models import Balance, Hold, OutboxMessage, UsageEvent

if TYPE_CHECKING:
    from chatapp.services import Services

SETTLING = timedelta(minutes=1)
"""How long an event that Polar has taken may be missing from its sums."""
OVERDUE = timedelta(hours=1)
"""An event that has not reached Polar for so long is reported."""
MARGIN = timedelta(days=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """Two figures of one account that should agree and do not.

    Attributes:
        what: `ledger and outbox` (events) | `ledger and totals` (nano-dollars) | `ledger and Polar` (micro-dollars) |
            `undelivered` (micro-dollars of billable events, of which Polar has none: parked, or late by an hour).
    """

    account_id: str
    what: str
    ours: Decimal
    theirs: Decimal


@dataclass(frozen=True)
class _Billed:
    """Billable ledger rows, of one account or of all (None): all of them, and those that Polar must have by now."""

    account_id: str | None
    since: datetime
    charge_nanousd: int
    settled_nanousd: int


async def reconcile(
    services: Services, account_id: str | None = None, *, thorough: bool = True
) -> list[Difference]:
    """All differences, of one account or of all. A difference is logged as an error; nothing is corrected.

    Not `thorough`, Polar is asked for its sum over all accounts first, and for each account's only if that one
    differs: one request, where otherwise there is one for each account.

    Raises:
        Unavailable, Rejected: Polar's side could not be read.
    """
    at = now()
    differences = await asyncio.to_thread(local_differences, services.db, at, account_id)
    billed = await asyncio.to_thread(_billed, services.db, at, account_id)
    with services.db.reading() as session:
        meter_id = provision.required(session, services.settings).meter_id
    if billed and (thorough or not _agree(_sum_of(billed), await _polars(services, meter_id, _sum_of(billed), at))):
        for one in billed:
            theirs = await _polars(services, meter_id, one, at)
            one = await _still(services, one)
            if not _agree(one, theirs):
                differences.append(Difference(one.account_id or "", "ledger and Polar", microusd(one.charge_nanousd),
                                              theirs))
    for difference in differences:
        _log.error("Reconciliation: %s", difference)
    return differences


def _agree(billed: _Billed, theirs: Decimal) -> bool:
    return microusd(billed.settled_nanousd) <= theirs <= microusd(billed.charge_nanousd)


def _sum_of(billed: list[_Billed]) -> _Billed:
    return _Billed(None, min(one.since for one in billed), sum(one.charge_nanousd for one in billed),
                   sum(one.settled_nanousd for one in billed))


async def _still(services: Services, billed: _Billed) -> _Billed:
    """The upper bound anew, after Polar's answer: what was entered and delivered meanwhile may be in its sum."""
    later = await asyncio.to_thread(_billed, services.db, now(), billed.account_id)
    return replace(billed, charge_nanousd=sum(one.charge_nanousd for one in later))


async def _polars(services: Services, meter_id: str, billed: _Billed, at: datetime) -> Decimal:
    return await services.polar.meter_quantity(meter_id, billed.since - MARGIN, at + MARGIN,
                                               external_id=billed.account_id)


def local_differences(db: Database, at: datetime, account_id: str | None = None) -> list[Difference]:
    """The differences within our own tables."""
    with db.reading() as session:
        accounts = [account_id] if account_id else session.exec(select(Balance.account_id)).all()
    differences = []
    for account in accounts:
        with db.session() as session:  # one transaction each: it locks the account's balance while it adds up
            differences += [*_unsent(session, account), *_undelivered(session, account, at),
                            *_totals(session, account, at)]
    return differences


def _unsent(session: Session, account_id: str) -> list[Difference]:
    """Every ledger row has its message; `ours` counts the rows."""
    rows, messages = session.exec(
        select(func.count(), func.count(col(OutboxMessage.id))).select_from(UsageEvent).join(
            OutboxMessage, and_(OutboxMessage.key == UsageEvent.id, OutboxMessage.channel == CHANNEL), isouter=True,
        ).where(UsageEvent.account_id == account_id)
    ).one()
    if rows == messages:
        return []
    return [Difference(account_id, "ledger and outbox", Decimal(rows), Decimal(messages))]


def _undelivered(session: Session, account_id: str, at: datetime) -> list[Difference]:
    """Billable events that Polar refused, or has not taken for so long; an account with none has no difference."""
    overdue = or_(col(OutboxMessage.parked_at).is_not(None), col(UsageEvent.occurred_at) < at - OVERDUE)
    events, charge = session.exec(
        select(func.count(), func.coalesce(func.sum(UsageEvent.charge_nanousd), 0)).select_from(UsageEvent)
        .join(OutboxMessage, and_(OutboxMessage.key == UsageEvent.id, OutboxMessage.channel == CHANNEL))
        .where(UsageEvent.account_id == account_id, col(UsageEvent.billable),
               col(OutboxMessage.delivered_at).is_(None), overdue)
    ).one()
    return [Difference(account_id, "undelivered", microusd(int(charge)), Decimal(0))] if events else []


def _totals(session: Session, account_id: str, at: datetime) -> list[Difference]:
    """The period's charge and what is held: in the ledger and the holds, and in the running totals."""
    balance = balances.current(session, account_id, at)
    charged = session.exec(select(func.coalesce(func.sum(UsageEvent.charge_nanousd), 0)).where(
        UsageEvent.account_id == account_id, UsageEvent.occurred_at >= balance.period_start)).one()
    held = session.exec(select(func.coalesce(func.sum(Hold.amount_nanousd), 0))
                        .where(Hold.account_id == account_id)).one()
    pairs = ((int(charged), balance.charged_nanousd), (int(held), balance.held_nanousd))
    return [Difference(account_id, "ledger and totals", Decimal(ours), Decimal(theirs))
            for ours, theirs in pairs if ours != theirs]


def _billed(db: Database, at: datetime, account_id: str | None) -> list[_Billed]:
    settled = and_(col(OutboxMessage.delivered_at).is_not(None), col(OutboxMessage.delivered_at) < at - SETTLING)
    charge = func.sum(UsageEvent.charge_nanousd)
    query = (
        select(UsageEvent.account_id, func.min(UsageEvent.occurred_at), charge,
               func.coalesce(charge.filter(settled), 0))
        .join(OutboxMessage, and_(OutboxMessage.key == UsageEvent.id, OutboxMessage.channel == CHANNEL))
        .where(col(UsageEvent.billable)).group_by(UsageEvent.account_id)
    )
    if account_id is not None:
        query = query.where(UsageEvent.account_id == account_id)
    with db.reading() as session:
        return [_Billed(account, since, int(total), int(sure))
                for account, since, total, sure in session.exec(query).all()]
