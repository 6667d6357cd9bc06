"""The emulators' clock: real time plus an offset that the console can move forward, for renewals and invoices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from emulators.store import Store

SCHEMA = "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), offset_seconds REAL NOT NULL);"


class Clock:
    """Tells the emulated time. It is kept in the store, so that it survives a restart, and it never runs backwards."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(SCHEMA)
        with store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO clock VALUES (1, 0)")
            self._offset = timedelta(seconds=db.execute("SELECT offset_seconds FROM clock").fetchone()[0])

    def now(self) -> datetime:
        """The emulated time, aware UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, by: timedelta) -> None:
        """Move forward by `by`; negative values raise ValueError."""
        if by < timedelta(0):
            raise ValueError("The clock only moves forward.")
        self._offset += by
        with self._store.transaction() as db:
            db.execute("UPDATE clock SET offset_seconds = ?", (self._offset.total_seconds(),))
