"""Drafts: an event that is on record before what it reports is over, so that no crash loses what was paid for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import col

from chatapp.billing.ingestion.events import Event, payload_of, require_valid
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.sql import statement
from chatapp.db import Database
from chatapp.models import OutboxMessage

DRAFT_LEASE = timedelta(minutes=5)
"""How long a draft may hear nothing from its process before it is reported as it stands."""

_log = logging.getLogger(__name__)


class Draft:
    """One event under way; made by `PolarIngestion.draft`. `finish` or `withdraw` ends it, once.

    It may be used from several threads: what comes after its end changes nothing.
    """

    def __init__(self, db: Database, event: Event, external_id: str, now: Callable[[], datetime]) -> None:
        self._db, self._event, self._external_id, self._now = db, event, external_id, now
        self._lock = threading.Lock()
        self._ended = False

    def note(self, event: Event) -> None:
        """What would have to be reported at this moment, and that the process lives. The event's key is the draft's.

        Raises:
            InvalidEvent: Polar would refuse it; the draft stays as it is.
        """
        with self._lock:
            if not self._ended:
                self._write(event, due=self._now() + DRAFT_LEASE)

    def finish(self, event: Event) -> None:
        """Report this, now. If the draft has gone to Polar meanwhile, that stands, and both are logged as an error.

        Raises:
            InvalidEvent: Polar would refuse it; the draft stays open.
        """
        with self._lock:
            if self._ended:
                return
            if not self._write(event, due=self._now()):
                _log.error("Event %s was reported as its draft before its figures came: %s", self._external_id, event)
            self._ended = True

    def withdraw(self) -> None:
        """Nothing happened: nothing is reported, unless the draft has gone to Polar meanwhile, which is logged."""
        with self._lock:
            if self._ended:
                return
            removal = delete(OutboxMessage).where(*self._unsent()).returning(col(OutboxMessage.id))
            with self._db.session() as session:
                removed = session.exec(removal, execution_options=statement).first()
            if removed is None:
                _log.error("Event %s was reported as its draft before it was withdrawn.", self._external_id)
            self._ended = True

    def _write(self, event: Event, *, due: datetime) -> bool:
        """Replace what is on record, unless it was taken for delivery: Polar may have it, and keeps the first."""
        now = self._now()
        event = replace(event, key=self._event.key)
        require_valid([event], now, one=True)
        change = update(OutboxMessage).where(*self._unsent()).values(
            payload=payload_of(event, self._external_id, now), next_attempt_at=due, created_at=due)
        with self._db.session() as session:
            changed = session.exec(change.returning(col(OutboxMessage.id)), execution_options=statement)
            return changed.first() is not None

    def _unsent(self) -> list[Any]:
        return [col(OutboxMessage.channel) == CHANNEL, col(OutboxMessage.key) == self._external_id,
                col(OutboxMessage.attempts) == 0]
