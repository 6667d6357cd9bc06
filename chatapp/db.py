"""The database: one engine, and `session()`, which owns the only commit.

SQLite by default (WAL), Postgres by DATABASE_URL; the same statements run on both. Calls are short and synchronous;
async code wraps them in `asyncio.to_thread` where they could take long. Never hold a session across a network call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import DateTime, TypeDecorator
from sqlmodel import Session, SQLModel, create_engine

MIGRATION_LOCK = 7_203_551
"""The key of Postgres' advisory lock around migrations: any constant of our own."""
BUSY_SECONDS = 15
"""How long a writer waits for SQLite's lock before it fails."""
TURN_SECONDS = 5
"""How long it waits before that, at most, for the other writers of its process."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC on both databases; SQLite alone would drop the time zone. A naive value raises ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC on the way in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Naive datetime {value!r}: times in the database are aware UTC.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Attach UTC on the way out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One engine and its sessions. Constructing it opens no connection."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.engine = _sqlite_engine(url) if url.startswith("sqlite") else _postgres_engine(url, pool_size)
        # Postgres: no BEGIN and no ROLLBACK around what only reads, where each statement sees the newest state anyway.
        self._reader = self.engine.execution_options(reading=True, **(
            {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}))
        self._writing = threading.RLock()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, for the few statements that differ."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One use case, one transaction: commit at the end, roll back on any exception.

        On SQLite the write lock is taken at once, so that a transaction that reads and then writes cannot fail midway.
        """
        with self._turn(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads: on SQLite it waits for no writer. Changes to its objects are not written."""
        with Session(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let the writers of this process wait for each other here.

        SQLite has one writer, and who waits for it looks again after ever longer pauses: of many, some would wait for
        seconds. Here the next one begins at once. Who has waited too long tries all the same: then another process has
        the lock, and it is no use to queue for that.
        """
        mine = self.is_sqlite and self._writing.acquire(timeout=TURN_SECONDS)
        try:
            yield
        finally:
            if mine:
                self._writing.release()

    def insert(self, table: type[SQLModel]) -> Any:  # noqa: ANN401 - the dialects' Insert classes share no useful base
        """The dialect's INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def migrate(self) -> None:
        """Bring the schema to the newest revision. Safe to call from several processes at once.

        Where it is the newest already no lock is asked for, so that an app also starts while something else has it.
        """
        from alembic.config import Config
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        from alembic import command

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent.parent / "alembic"))
        with self.reading() as session:
            present = MigrationContext.configure(session.connection()).get_current_revision()
        if present == ScriptDirectory.from_config(config).get_current_head():
            return
        # One transaction from the lock to the commit: behind a transaction pooler the next one may run in another
        # session, where a session's lock would be neither held nor released. SQLite's BEGIN IMMEDIATE is lock enough.
        with self.engine.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def now() -> datetime:
    """The current time, aware UTC: the one clock of the app's shell. The core takes `now` as an argument."""
    return datetime.now(UTC)


def _sqlite_engine(url: str) -> Engine:
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    # isolation_level=None: the driver begins nothing by itself, so that the BEGIN below is the only one.
    engine = create_engine(url, connect_args={
        "timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, _: object) -> None:  # noqa: ANN401 - DBAPI connections have no common type
        for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_SECONDS * 1000}", "synchronous=FULL",
                       "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: str, pool_size: int) -> Engine:
    # prepare_threshold=None: prepared statements break behind transaction-mode poolers (PgBouncer, Supavisor).
    return create_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True,
                         connect_args={"prepare_threshold": None})
