"""The emulator's tables in SQLite: documents by kind, events, and webhooks with their deliveries."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any, Final

from emulators.store import Store

Document = dict[str, Any]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS polar_document (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS polar_document_kind ON polar_document (kind, seq);
CREATE INDEX IF NOT EXISTS polar_document_customer ON polar_document (kind, body ->> '$.customer_id');
CREATE TABLE IF NOT EXISTS polar_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, external_id TEXT UNIQUE, name TEXT NOT NULL,
    source TEXT NOT NULL, customer_id TEXT, external_customer_id TEXT, parent_id TEXT, awaited_parent TEXT,
    timestamp TEXT NOT NULL, received_at TEXT NOT NULL, metadata TEXT NOT NULL,
    subscription_id TEXT, order_id TEXT);
CREATE INDEX IF NOT EXISTS polar_event_customer ON polar_event (customer_id, seq);
CREATE INDEX IF NOT EXISTS polar_event_external ON polar_event (external_customer_id, seq);
CREATE INDEX IF NOT EXISTS polar_event_unbilled ON polar_event (subscription_id, order_id);
CREATE INDEX IF NOT EXISTS polar_event_awaited ON polar_event (awaited_parent) WHERE awaited_parent IS NOT NULL;
CREATE TABLE IF NOT EXISTS polar_webhook_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, endpoint_id TEXT NOT NULL, type TEXT NOT NULL,
    payload TEXT NOT NULL, created_at TEXT NOT NULL, modified_at TEXT, attempts INTEGER NOT NULL DEFAULT 0,
    next_at REAL, succeeded INTEGER, last_http_code INTEGER);
CREATE INDEX IF NOT EXISTS polar_webhook_event_due ON polar_webhook_event (next_at) WHERE next_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS polar_webhook_delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, event_id TEXT NOT NULL, created_at TEXT NOT NULL,
    succeeded INTEGER NOT NULL, http_code INTEGER, response TEXT);
"""


def new_id() -> str:
    """A fresh UUID4 as text, the form of every id."""
    return str(uuid.uuid4())


class Tables:
    """Documents (customers, meters, products …) are JSON by kind and id; events and webhooks have columns.

    Every method joins the transaction around it, so that one request is one transaction.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        store.create(SCHEMA)

    def rows(self, sql: str, *arguments: object) -> list[sqlite3.Row]:
        """Run one statement and return its rows."""
        with self.store.transaction() as db:
            return db.execute(sql, arguments).fetchall()

    def write(self, sql: str, *arguments: object) -> int:
        """Run one statement and return how many rows it changed."""
        with self.store.transaction() as db:
            return db.execute(sql, arguments).rowcount

    def write_all(self, sql: str, arguments: Sequence[tuple[object, ...]]) -> int:
        """Run one statement for each of the arguments and return how many rows they changed in all."""
        with self.store.transaction() as db:
            return db.executemany(sql, arguments).rowcount

    def add(self, kind: str, body: Document) -> Document:
        """Store a document under its `id`."""
        self.write("INSERT INTO polar_document (id, kind, body) VALUES (?, ?, ?)", body["id"], kind, json.dumps(body))
        return body

    def save(self, body: Document) -> Document:
        """Store the changed document in the place of the one with the same id."""
        self.write("UPDATE polar_document SET body = ? WHERE id = ?", json.dumps(body), body["id"])
        return body

    def remove(self, identifier: str) -> None:
        """Delete a document."""
        self.write("DELETE FROM polar_document WHERE id = ?", identifier)

    def get(self, kind: str, identifier: str | None) -> Document | None:
        """The document with that id and kind, or None."""
        found = self.rows("SELECT body FROM polar_document WHERE id = ? AND kind = ?", identifier, kind)
        return json.loads(found[0][0]) if found else None

    def need(self, kind: str, identifier: str) -> Document:
        """The document with that id and kind, which is known to exist; KeyError if it does not."""
        found = self.get(kind, identifier)
        if found is None:
            raise KeyError(f"{kind} {identifier}")
        return found

    def find(self, kind: str, *, newest_first: bool = False, **equal: object) -> list[Document]:
        """All documents of a kind whose top-level fields equal the given values, in the order of their creation."""
        conditions = "".join(f" AND body ->> '$.{name}' = ?" for name in equal)
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT body FROM polar_document WHERE kind = ?{conditions} ORDER BY seq {order}"
        return [json.loads(row[0]) for row in self.rows(sql, kind, *equal.values())]
