"""What the emulated model has served: one row per request, to compare a ledger with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulators.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS llm_request (
    id TEXT PRIMARY KEY, at TEXT NOT NULL, model TEXT NOT NULL, streamed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, finish TEXT NOT NULL);
"""


class Log:
    """The table of served requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(_SCHEMA)

    def add(
        self, request_id: str, at: datetime, model: str, *, streamed: bool, prompt: int, completion: int, finish: str
    ) -> None:
        """Record one request: its tokens in and out, and how it ended.

        `finish` is `stop`, `length` or `tool_calls` as in the answer, or `cut` if the client left before the end;
        `completion` then counts the tokens that were sent until it was noticed.
        """
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO llm_request VALUES (?, ?, ?, ?, ?, ?, ?)",
                (request_id, at.isoformat(), model, streamed, prompt, completion, finish),
            )

    def rows(self) -> list[dict[str, Any]]:
        """All requests, oldest first."""
        with self._store.transaction() as db:
            rows = [dict(row) for row in db.execute("SELECT * FROM llm_request ORDER BY rowid")]
        return [{**row, "streamed": bool(row["streamed"])} for row in rows]
