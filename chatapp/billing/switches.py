"""The moment of a switch of plan: nothing of the account may be under way, and nothing may begin.

Polar bills an event to the subscription of the moment at which it arrives, and drops what was not received before a
switch. So a switch begins only when all usage has been delivered, and until it ends no question may spend.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from chatapp.billing import balances
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.sql import statement
from chatapp.billing.texts import BillingRefused
from chatapp.db import Database
from chatapp.models import Balance, Hold, OutboxMessage, Turn, UsageEvent

LONGEST = timedelta(seconds=60)
"""Outlasts the two requests of a switch; if its process dies, the account may spend again after so long."""


def begin(db: Database, account_id: str, now: datetime) -> None:
    """Close the account for spending until `finish`, `abandon` or, if neither comes, for `LONGEST`.

    Everything that spends updates the account's balance first, which is locked here: what is not seen now, finds the
    account closed.

    Raises:
        BillingRefused: `usage_pending` while an answer runs or usage is undelivered, `plan_changing` while another
            switch is under way.
    """
    with db.session() as session:
        balance = balances.current(session, account_id, now)
        if balance.switching_until is not None and balance.switching_until > now:
            raise BillingRefused("plan_changing")
        if _under_way(session, account_id):
            raise BillingRefused("usage_pending")
        balance.switching_until = now + LONGEST


def finish(db: Database, account_id: str, now: datetime) -> None:
    """The mirror shows the new plan: questions that are admitted from now on may spend."""
    _set(db, account_id, now)


def abandon(db: Database, account_id: str) -> None:
    """Polar certainly changed nothing: whoever was admitted before may go on."""
    _set(db, account_id, None)


def _under_way(session: Session, account_id: str) -> bool:
    """Whether there is a hold, a running answer, or usage of the ledger that Polar does not have, parked or not."""
    undelivered = select(OutboxMessage.id).join(UsageEvent, col(UsageEvent.id) == OutboxMessage.key).where(
        OutboxMessage.channel == CHANNEL, OutboxMessage.account_id == account_id,
        col(OutboxMessage.delivered_at).is_(None))
    return any(
        session.exec(rows.limit(1)).first() is not None
        for rows in (select(Hold.id).where(Hold.account_id == account_id),
                     select(Turn.id).where(Turn.account_id == account_id), undelivered)
    )


def _set(db: Database, account_id: str, until: datetime | None) -> None:
    with db.session() as session:
        session.exec(update(Balance).where(col(Balance.account_id) == account_id).values(switching_until=until),
                     execution_options=statement)
