"""How the database finds the rows of a statement: by an index, or by reading a whole table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from chatapp.db import Database

GROWING = ("usage_event", "outbox_message")
"""Tables that grow for ever: no statement before a turn, and no claim, may read one of them whole."""
FEW_ROWS = 10_000
"""Below this Postgres rightly reads a whole table rather than its index; what it would do then says nothing."""
_EXPLAINED = ("SELECT", "UPDATE", "DELETE", "WITH")


@contextmanager
def recorded(db: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that run in the block, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, sql: str, parameters: Any, *rest: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        if sql.lstrip().upper().startswith(_EXPLAINED):
            statements.append((sql, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def whole_tables_read(db: Database, statements: list[tuple[str, Any]]) -> list[str]:
    """The steps of the statements' plans that read a growing table from end to end; none is what is wanted."""
    found = []
    for sql, parameters in statements:
        for line in explain(db, sql, parameters):
            whole = re.search(r"\bSCAN (\w+)(?! USING)|\bSeq Scan on (\w+)", line)
            if whole and (whole[1] or whole[2]) in GROWING:
                found.append(line.strip())
    return found


def sorts(db: Database, statements: list[tuple[str, Any]]) -> list[str]:
    """The steps that put rows in order because no index has them in it."""
    return [line.strip() for sql, parameters in statements for line in explain(db, sql, parameters)
            if "TEMP B-TREE" in line or re.search(r"\bSort\b", line)]


def explain(db: Database, sql: str, parameters: Any) -> list[str]:  # noqa: ANN401 - as the driver takes them
    """The lines of a statement's plan."""
    with db.reading() as session:
        prefix = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
        rows = session.connection().exec_driver_sql(prefix + sql, parameters).all()
        return [str(row[-1]) for row in rows]
