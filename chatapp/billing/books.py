"""Our own books: the ledger, the outbox and the running totals, held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import func
from sqlmodel import Session, and_, col, or_, select

from chatapp.billing import balances
from chatapp.billing.hold_rows import CUSTOMER
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.db import Database
from chatapp.models import Balance, Hold, OutboxMessage, UsageEvent

OVERDUE = timedelta(hours=1)
"""An event that has not reached Polar for so long is reported."""

_NAMES = {"ledger and outbox": ("rows", "messages"), "ledger and totals": ("ledger", "totals"),
          "ledger and Polar": ("ledger", "Polar"), "undelivered": ("waiting", "at Polar"),
          "parked": ("events", "at Polar"), "not compared": ("sums", "of them told by Polar")}
_UNITS = {"ledger and totals": " nano-dollars", "ledger and Polar": " micro-dollars", "undelivered": " micro-dollars"}


@dataclass(frozen=True)
class Difference:
    """Two figures of one account that should agree and do not.

    Attributes:
        what: `ledger and outbox` (events) | `ledger and totals` (nano-dollars) | `ledger and Polar` (micro-dollars) |
            `undelivered` (micro-dollars of billable events, of which Polar has none: parked, or late by an hour) |
            `parked` (events that bill nothing, of all accounts, which Polar refused) |
            `not compared` (sums that Polar did not tell, since it was away).
        since: from when on both are; None for all time.
    """

    account_id: str
    what: str
    ours: Decimal
    theirs: Decimal
    since: datetime | None = None

    def in_words(self) -> str:
        """One line for the operator."""
        ours, theirs = _NAMES.get(self.what, ("ours", "theirs"))
        of = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return (f"{self.what}, account {self.account_id or '(all)'}{of}: {ours} {self.ours.normalize():f}, "
                f"{theirs} {self.theirs.normalize():f}{_UNITS.get(self.what, '')}")


def local_differences(db: Database, at: datetime, account_id: str | None = None) -> list[Difference]:
    """The differences within our own tables."""
    with db.reading() as session:
        accounts = [account_id] if account_id else session.exec(select(Balance.account_id)).all()
        differences = [] if account_id else _parked(session)
    for account in accounts:
        with db.reading() as session:
            differences += [*_unsent(session, account), *_undelivered(session, account, at)]
        with db.session() as session:  # the account's balance is locked while its period is added up
            differences += _totals(session, account, at)
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


def _parked(session: Session) -> list[Difference]:
    """What Polar refused and no bill misses: usage that is included, and what other apps track (`ingestion`)."""
    parked = session.exec(
        select(func.count()).select_from(OutboxMessage)
        .join(UsageEvent, and_(UsageEvent.id == OutboxMessage.key, col(UsageEvent.billable)), isouter=True)
        .where(OutboxMessage.channel == CHANNEL, col(OutboxMessage.parked_at).is_not(None),
               col(OutboxMessage.delivered_at).is_(None), col(UsageEvent.id).is_(None))
    ).one()
    return [Difference("", "parked", Decimal(parked), Decimal(0))] if parked else []


def _totals(session: Session, account_id: str, at: datetime) -> list[Difference]:
    """The period's charge and cost and what is held for both: in ledger and holds, and in the running totals."""
    balance = balances.current(session, account_id, at)
    charged, cost = session.exec(
        select(func.coalesce(func.sum(UsageEvent.charge_nanousd), 0),
               func.coalesce(func.sum(UsageEvent.cost_nanousd), 0))
        .where(UsageEvent.account_id == account_id, UsageEvent.occurred_at >= balance.period_start,
               UsageEvent.bearer == CUSTOMER)).one()
    held, held_cost = session.exec(
        select(func.coalesce(func.sum(Hold.amount_nanousd), 0), func.coalesce(func.sum(Hold.cost_bound_nanousd), 0))
        .where(Hold.account_id == account_id, Hold.bearer == CUSTOMER)).one()
    pairs = ((charged, balance.charged_nanousd), (cost, balance.cost_nanousd),
             (held, balance.held_nanousd), (held_cost, balance.held_cost_nanousd))
    return [Difference(account_id, "ledger and totals", Decimal(ours), Decimal(theirs), balance.period_start)
            for ours, theirs in pairs if int(ours) != theirs]
