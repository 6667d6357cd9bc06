"""What the emulated model has served: one row per request, to compare a ledger with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulators.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS llm_served (
    id TEXT PRIMARY KEY, at TEXT NOT NULL, model TEXT NOT NULL, question TEXT NOT NULL, streamed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, finish TEXT NOT NULL);
UPDATE llm_served SET finish = 'cut' WHERE finish = 'open';
"""
_QUESTION_CHARACTERS = 200


class Log:
    """The table of served requests. What a process left open when it died was cut off."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(_SCHEMA)

    def begin(self, request_id: str, at: datetime, model: str, *, question: str, streamed: bool, prompt: int) -> None:
        """Record a request when it is accepted: from now on it costs its `prompt` tokens, whatever becomes of it."""
        with self._store.transaction() as db:
            row = (request_id, at.isoformat(), model, question[:_QUESTION_CHARACTERS], streamed, prompt)
            db.execute("INSERT INTO llm_served VALUES (?, ?, ?, ?, ?, ?, 0, 'open')", row)

    def end(self, request_id: str, completion: int, finish: str) -> None:
        """Record how it ended.

        `finish` is `stop`, `length` or `tool_calls` as in the answer, or `cut` if the connection ended before the
        answer did; `completion` then counts the tokens that were sent until it was noticed.
        """
        with self._store.transaction() as db:
            db.execute("UPDATE llm_served SET completion_tokens = ?, finish = ? WHERE id = ?",
                       (completion, finish, request_id))

    def rows(self) -> list[dict[str, Any]]:
        """The requests that have ended, in the order in which they came."""
        with self._store.transaction() as db:
            rows = [dict(row) for row in db.execute("SELECT * FROM llm_served WHERE finish <> 'open' ORDER BY rowid")]
        return [{**row, "streamed": bool(row["streamed"])} for row in rows]

    def under_way(self) -> int:
        """How many requests have not ended."""
        with self._store.transaction() as db:
            return int(db.execute("SELECT COUNT(*) FROM llm_served WHERE finish = 'open'").fetchone()[0])
