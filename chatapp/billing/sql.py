"""What the shell's statements share: the dialect's INSERT, and options of statements that change rows directly."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

statement: dict[str, Any] = {"synchronize_session": False}
"""For UPDATE and DELETE statements whose rows no object in the session stands for."""


def insert(session: Session, table: type[SQLModel]) -> Any:  # noqa: ANN401 - the dialects' classes share no base
    """The dialect's INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)
