"""The outbox: a queue in our own tables. Rows are leased to whoever works on them, and never lost with a process.

A message is written in the transaction that causes it. A worker claims messages for the length of a lease, sends them
outside any transaction, and marks them; if it dies, the lease runs out and another one claims them. So a message is
sent at least once, and its key makes that once at the vendor.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Update, func, or_, update
from sqlmodel import Session, col, select

from chatapp.billing.sql import for_each_dialect, run, statement
from chatapp.db import Database, now
from chatapp.ids import new_id
from chatapp.models import OutboxMessage


def enqueue(
    session: Session, channel: str, key: str, payload: dict[str, Any], account_id: str | None = None, *,
    due: datetime | None = None,
) -> None:
    """Add a message to the caller's transaction, due now or at `due`.

    `key` is the idempotency key at the vendor; a message whose key the channel already has stays as it is.
    """
    created = due or now()
    run(session, _ENQUEUING, {
        "id": new_id(), "channel": channel, "key": key, "account_id": account_id, "payload": payload, "attempts": 0,
        "next_attempt_at": created, "created_at": created, "reason": "",
    })


_ENQUEUING = for_each_dialect(
    lambda insert: insert(OutboxMessage).on_conflict_do_nothing(index_elements=["channel", "key"]))


class Claimed(NamedTuple):
    """What it takes to send a message, without the row around it: half the time of a large batch."""

    id: str
    key: str
    payload: dict[str, Any]
    attempts: int
    created_at: datetime


def claim(
    db: Database, channel: str, limit: int, lease_seconds: float, now: datetime, *, account_id: str | None = None
) -> list[OutboxMessage]:
    """Lease the oldest messages that are due, of one account or of all.

    One statement, so that no two workers get the same one. The lease must be longer than the slowest attempt to send
    them, or they are sent twice.
    """
    claiming = _claiming(channel, limit, lease_seconds, now, account_id)
    with db.session() as session:
        claimed = session.exec(claiming.returning(OutboxMessage), execution_options=statement).scalars().all()
    return sorted(claimed, key=lambda message: (message.created_at, message.id))


def claim_batch(
    db: Database, channel: str, limit: int, lease_seconds: float, now: datetime, *, account_id: str | None = None
) -> list[Claimed]:
    """The same, for a channel that sends hundreds at once."""
    claiming = _claiming(channel, limit, lease_seconds, now, account_id).returning(
        col(OutboxMessage.id), col(OutboxMessage.key), col(OutboxMessage.payload), col(OutboxMessage.attempts),
        col(OutboxMessage.created_at))
    with db.session() as session:
        claimed = [Claimed(*row) for row in session.exec(claiming, execution_options=statement).all()]
    return sorted(claimed, key=lambda message: (message.created_at, message.id))


def _claiming(channel: str, limit: int, lease_seconds: float, now: datetime, account_id: str | None) -> Update:
    due = [
        col(OutboxMessage.channel) == channel, col(OutboxMessage.delivered_at).is_(None),
        col(OutboxMessage.parked_at).is_(None), col(OutboxMessage.next_attempt_at) <= now,
        or_(col(OutboxMessage.lease_until).is_(None), col(OutboxMessage.lease_until) < now),
    ]
    if account_id is not None:
        due.append(col(OutboxMessage.account_id) == account_id)
    oldest = (select(OutboxMessage.id).where(*due).order_by(col(OutboxMessage.created_at), col(OutboxMessage.id))
              .limit(limit).with_for_update(skip_locked=True).cte("oldest"))
    return (update(OutboxMessage).where(col(OutboxMessage.id).in_(select(oldest.c.id)))
            .values(lease_until=now + timedelta(seconds=lease_seconds), attempts=OutboxMessage.attempts + 1))


def renew(db: Database, ids: Sequence[str], lease_seconds: float, now: datetime) -> None:
    """They take longer than one attempt: lease them anew."""
    _mark(db, ids, lease_until=now + timedelta(seconds=lease_seconds))


def delivered(db: Database, ids: Sequence[str], now: datetime) -> None:
    """The vendor has them."""
    _mark(db, ids, delivered_at=now, lease_until=None, parked_at=None, reason="")


def retry(db: Database, ids: Sequence[str], at: datetime, reason: str) -> None:
    """They stay in the queue until `at`."""
    _mark(db, ids, next_attempt_at=at, lease_until=None, reason=reason)


def park(db: Database, message_id: str, reason: str, now: datetime) -> None:
    """The vendor refuses it for good: kept for the operator, out of the others' way."""
    _mark(db, [message_id], parked_at=now, lease_until=None, reason=reason)


def unpark(db: Database, channel: str, now: datetime) -> int:
    """Put all parked messages of a channel back into the queue, once their cause is mended; return how many."""
    parked = [col(OutboxMessage.channel) == channel, col(OutboxMessage.parked_at).is_not(None)]
    back = (update(OutboxMessage).where(*parked)
            .values(parked_at=None, next_attempt_at=now).returning(col(OutboxMessage.id)))
    with db.session() as session:
        return len(session.exec(back, execution_options=statement).all())


def pending(db: Database, channel: str, account_id: str | None = None) -> int:
    """How many messages are neither delivered nor parked."""
    waiting = select(func.count()).select_from(OutboxMessage).where(
        OutboxMessage.channel == channel, col(OutboxMessage.delivered_at).is_(None),
        col(OutboxMessage.parked_at).is_(None),
    )
    if account_id is not None:
        waiting = waiting.where(OutboxMessage.account_id == account_id)
    with db.reading() as session:
        return session.exec(waiting).one()


def _mark(db: Database, ids: Sequence[str], **values: Any) -> None:  # noqa: ANN401 - columns of several types
    with db.session() as session:
        session.exec(
            update(OutboxMessage).where(col(OutboxMessage.id).in_(ids), col(OutboxMessage.delivered_at).is_(None))
            .values(**values), execution_options=statement,
        )
