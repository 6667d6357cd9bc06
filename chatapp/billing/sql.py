"""What the shell's statements share: the dialect's INSERT, options of statements that change rows, prepared ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

statement: dict[str, Any] = {"synchronize_session": False}
"""For UPDATE and DELETE statements whose rows no object in the session stands for."""


def insert(session: Session, table: type[SQLModel]) -> Any:  # noqa: ANN401 - the dialects' classes share no base
    """The dialect's INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def run(session: Session, made: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a statement that was made once, with values for its parameters, in the session's transaction.

    For what every paid step does: to make a statement takes longer than to run it. What the session has pending is not
    written first, and its objects are not brought up to date.
    """
    return session.connection().execute(made, values)


def columns_of(row: SQLModel) -> dict[str, Any]:
    """A row's values by column, as an INSERT takes them."""
    return {name: getattr(row, name) for name in type(row).model_fields}
