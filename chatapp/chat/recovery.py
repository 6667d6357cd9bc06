"""Turns whose process died: taken over, paid for as far as they came, and saved with what had arrived.

A turn's lease is much shorter than its holds', which are settled here without waiting for theirs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection

from sqlalchemy import update
from sqlmodel import col, select

from chatapp.billing import holds
from chatapp.chat import chunks, turns
from chatapp.chat.draft import Draft
from chatapp.db import Database, now
from chatapp.ids import MessageId
from chatapp.models import Turn

RECOVERER = f"recover:{turns.RUNNER}"[:64]
"""Whoever saves a dead turn; never the runner, so that a runner that only seemed dead finds the turn taken."""

_log = logging.getLogger(__name__)


def recover(db: Database, alive: Collection[MessageId] = ()) -> list[MessageId]:
    """Settle the holds of the answers whose process died, and save these as interrupted. Returns their ids.

    `alive` are the answers of this process: where the whole machine slept, or the database was locked for long, their
    leases ran out too. An answer that cannot be saved is logged and tried again when its new lease has run out.
    """
    with db.reading() as session:
        dead = session.exec(select(Turn.id).where(Turn.lease_until < now())).all()
    saved = []
    for message_id in map(MessageId, dead):
        if message_id in alive or not _take_over(db, message_id):
            continue
        try:
            _save_dead(db, message_id)
        except Exception:
            _log.exception("Answer %s, whose process died, could not be saved.", message_id)
        else:
            saved.append(message_id)
    return saved


def _take_over(db: Database, message_id: MessageId) -> bool:
    with db.session() as session:
        taken = session.exec(
            update(Turn).where(col(Turn.id) == message_id, col(Turn.lease_until) < now())
            .values(runner=RECOVERER, lease_until=now() + turns.LEASE).returning(col(Turn.id))
        ).all()
    return bool(taken)


def _save_dead(db: Database, message_id: MessageId) -> None:
    holds.sweep_turn(db, message_id, now())  # also where what is stored cannot be read, so that nothing can be saved
    draft = Draft()
    for _, data in chunks.stored(db, message_id, 0):
        draft.apply(json.loads(data))
    turns.save(db, message_id, draft, status="interrupted", error="", history_json="")
