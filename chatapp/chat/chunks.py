"""The numbered operations of an answer in the database: for readers in other processes, and for the time after a crash.

They stay for a while after the answer is saved, so that whoever is on their way through them gets to the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from chatapp.db import Database, now
from chatapp.ids import MessageId
from chatapp.models import Chunk, Message

KEEP = timedelta(minutes=10)
"""Longer than a process remembers an answer that it has written; see `Answers.remembers`."""


def store(
    session: Session, db: Database, message_id: MessageId, first_number: int, operations: Sequence[str]
) -> None:
    """Store serialised operations, the first of which has this number, in the caller's transaction.

    Storing from the same number again replaces what is there: the first attempt may have failed after its commit.
    """
    chunk = db.insert(Chunk).values(message_id=message_id, number=first_number, data=f"[{','.join(operations)}]")
    session.execute(chunk.on_conflict_do_update(
        index_elements=["message_id", "number"], set_={"data": chunk.excluded.data}))


def store_rest(session: Session, db: Database, message_id: MessageId, operations: Sequence[str]) -> None:
    """Store what is not stored yet of all the operations of an answer."""
    rows = session.exec(select(Chunk).where(Chunk.message_id == message_id)).all()
    known = max((row.number + len(json.loads(row.data)) - 1 for row in rows), default=0)
    if rest := operations[known:]:
        store(session, db, message_id, known + 1, rest)


def stored(db: Database, message_id: MessageId, after: int) -> list[tuple[int, str]]:
    """The stored operations with a number above `after`, as (number, JSON)."""
    with db.reading() as session:
        rows = session.exec(select(Chunk).where(Chunk.message_id == message_id).order_by(col(Chunk.number))).all()
    numbered = ((row.number + place, json.dumps(operation, ensure_ascii=False, separators=(",", ":")))
                for row in rows for place, operation in enumerate(json.loads(row.data)))
    return [(number, data) for number, data in numbered if number > after]


def sweep(db: Database) -> int:
    """Delete the operations of answers that were saved `KEEP` ago; returns how many rows were deleted."""
    with db.reading() as session:
        old = session.exec(select(Chunk.message_id).distinct().join(Message, col(Message.id) == col(Chunk.message_id))
                           .where(col(Message.finished_at) < now() - KEEP)).all()
    if not old:
        return 0
    with db.session() as session:
        return session.exec(delete(Chunk).where(col(Chunk.message_id).in_(old))).rowcount
