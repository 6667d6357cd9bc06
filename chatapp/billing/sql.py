"""What the shell's statements share: the dialect's INSERT, options of statements that change rows, prepared ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

statement: dict[str, Any] = {"synchronize_session": False}
"""For UPDATE and DELETE statements whose rows no object in the session stands for."""


def insert(session: Session, table: type[SQLModel]) -> Any:  # noqa: ANN401 - the dialects' classes share no base
    """The dialect's INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def for_each_dialect(make: Callable[[Any], Executable]) -> dict[str, Executable]:
    """A statement that is made once for each database, with the dialect's own `insert`."""
    return {"sqlite": make(sqlite.insert), "postgresql": make(postgresql.insert)}


def run(
    session: Session, made: Executable | Mapping[str, Executable], values: Mapping[str, Any]
) -> CursorResult[Any]:
    """Run a statement that was made once, or `for_each_dialect`, with values for its parameters.

    In the session's transaction, for what every paid step does: to make a statement takes longer than to run it. What
    the session has pending is not written first, and its objects are not brought up to date.
    """
    chosen = made[session.get_bind().dialect.name] if isinstance(made, Mapping) else made
    return session.connection().execute(chosen, values)


def columns_of(row: SQLModel) -> dict[str, Any]:
    """A row's values by column, as an INSERT takes them."""
    return {name: getattr(row, name) for name in type(row).model_fields}
