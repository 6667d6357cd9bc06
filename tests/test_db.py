"""The database's own promises, on both kinds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, StatementError
from sqlmodel import SQLModel, select

from chatapp.db import MIGRATION_LOCK, Database
from chatapp.models import Account, Thread

MIGRATE = "import sys; from chatapp.db import Database; Database(sys.argv[1]).migrate()"


@pytest.fixture(params=["sqlite", "postgres"])
def unmigrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/unmigrated.db")
    else:
        admin = Database(request.getfixturevalue("postgres_server"))
        name = f"unmigrated_{os.getpid()}"
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.close()
        database = Database(admin.url.replace("/postgres?", f"/{name}?"))
    yield database
    database.close()


def test_two_processes_that_migrate_at_once_both_succeed(unmigrated: Database) -> None:
    both = [subprocess.Popen([sys.executable, "-c", MIGRATE, unmigrated.url], stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    with unmigrated.reading() as session:
        assert session.exec(select(Account)).all() == []


def test_a_schema_that_is_the_newest_already_needs_no_lock(unmigrated: Database) -> None:
    unmigrated.migrate()
    with unmigrated.engine.begin() as other:  # on SQLite this has the only write lock
        if not unmigrated.is_sqlite:
            other.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        process = subprocess.run([sys.executable, "-c", MIGRATE, unmigrated.url], stderr=subprocess.PIPE, timeout=60,
                                 check=False)
    assert process.returncode == 0, process.stderr.decode()


@pytest.mark.parametrize("unmigrated", ["postgres"], indirect=True)
def test_a_migration_waits_for_the_transaction_that_holds_the_lock(unmigrated: Database) -> None:
    with unmigrated.engine.begin() as other:
        other.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        process = subprocess.Popen([sys.executable, "-c", MIGRATE, unmigrated.url], stderr=subprocess.PIPE)
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while not other.execute(waiting).scalar_one():
            assert process.poll() is None, "it did not wait"
        assert other.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()


def test_a_migration_that_fails_leaves_no_table_and_no_lock(unmigrated: Database) -> None:
    with unmigrated.engine.begin() as connection:
        connection.execute(text("CREATE TABLE outbox_message (id INTEGER)"))
    with pytest.raises(DatabaseError, match="outbox_message"):
        unmigrated.migrate()
    with unmigrated.engine.begin() as connection:
        connection.execute(text("DROP TABLE outbox_message"))
    unmigrated.migrate()


def test_the_migrations_make_exactly_the_tables_of_the_models(db: Database) -> None:
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_migrating_twice_changes_nothing(db: Database) -> None:
    db.migrate()
    db.migrate()


def test_an_exception_in_a_session_leaves_nothing_behind(db: Database) -> None:
    def fail_midway() -> None:
        with db.session() as session:
            session.add(Account())
            session.flush()
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    with db.reading() as session:
        assert session.exec(select(Account)).all() == []


def test_times_come_back_as_aware_utc(db: Database) -> None:
    moment = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    with db.session() as session:
        account = Account()
        session.add(account)
        session.flush()
        session.add(Thread(account_id=account.id, updated_at=moment))
    with db.reading() as session:
        assert session.exec(select(Thread)).one().updated_at == moment


def test_a_naive_time_is_refused(db: Database) -> None:
    def store_naive() -> None:
        with db.session() as session:
            session.add(Account(created_at=datetime(2026, 11, 20)))  # noqa: DTZ001 - the point of the test
            session.flush()

    with pytest.raises(StatementError, match="Naive datetime"):
        store_naive()
