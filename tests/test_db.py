"""The database's own promises, on both kinds."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import StatementError
from sqlmodel import SQLModel, select

from chatapp.db import Database
from chatapp.models import Account, Thread


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
