"""The emulated sandboxes: their states, their labels, and the intervals after which they stop and vanish."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from emulators.clock import Clock
from emulators.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS daytona_sandbox (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, state TEXT NOT NULL, created_at TEXT NOT NULL, active_at TEXT NOT NULL,
    runs INTEGER NOT NULL DEFAULT 0, run_seconds REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS daytona_run (
    id TEXT PRIMARY KEY, sandbox_id TEXT NOT NULL, at TEXT NOT NULL, outcome TEXT NOT NULL, seconds REAL NOT NULL);
UPDATE daytona_run SET outcome = 'cut' WHERE outcome = 'under way';
"""
_KEPT = (
    "env", "labels", "public", "networkBlockAll", "networkAllowList", "target", "autoStopInterval",
    "autoDeleteInterval", "autoArchiveInterval", "user", "snapshot", "name", "cpu", "memory", "disk",
)


class Sandboxes:
    """The table of sandboxes, as Daytona's API answers them."""

    def __init__(self, store: Store, clock: Clock, toolbox_url: str) -> None:
        self._store, self._clock, self._toolbox_url = store, clock, toolbox_url
        store.create(_SCHEMA)

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Start a sandbox: one CPU, one GiB of memory and three of disk unless the request says otherwise."""
        sandbox_id, now = str(uuid4()), self._clock.now()
        body: dict[str, Any] = {
            "id": sandbox_id, "organizationId": "org-emulated", "name": sandbox_id, "snapshot": "daytona-small",
            "user": "daytona", "env": {}, "labels": {}, "public": False, "networkBlockAll": False, "kvm": False,
            "target": "us", "cpu": 1, "gpu": 0, "memory": 1, "disk": 3, "autoStopInterval": 15,
            "autoDeleteInterval": -1, "desiredState": "started", "toolboxProxyUrl": self._toolbox_url,
            **{key: wanted[key] for key in _KEPT if wanted.get(key) is not None},
        }
        if ttl := wanted.get("ttlMinutes"):
            body["autoDestroyAt"] = (now + timedelta(minutes=ttl)).isoformat()
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO daytona_sandbox (id, body, state, created_at, active_at) VALUES (?, ?, 'started', ?, ?)",
                (sandbox_id, json.dumps(body), now.isoformat(), now.isoformat()),
            )
        return self._answer(body, "started", now.isoformat(), now.isoformat())

    def get(self, sandbox_id: str) -> dict[str, Any] | None:
        """One sandbox by id or name; None if it never was or has been destroyed."""
        return next((box for box in self.all() if sandbox_id in (box["id"], box["name"])), None)

    def all(self, labels: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """All sandboxes that exist and have these labels, oldest first."""
        wanted = (labels or {}).items()
        with self._store.transaction() as db:
            self._let_time_pass()
            rows = db.execute("SELECT * FROM daytona_sandbox WHERE state <> 'destroyed' ORDER BY rowid").fetchall()
        boxes = [self._answer(json.loads(r["body"]), r["state"], r["created_at"], r["active_at"]) for r in rows]
        return [box for box in boxes if wanted <= box["labels"].items()]

    def set_state(self, sandbox_id: str, state: str) -> None:
        """Start, stop or destroy; a sandbox with an interval of 0 until its deletion vanishes when it stops."""
        with self._store.transaction() as db:
            row = db.execute("SELECT body FROM daytona_sandbox WHERE id = ?", (sandbox_id,)).fetchone()
            if state == "stopped" and json.loads(row["body"])["autoDeleteInterval"] == 0:
                state = "destroyed"
            db.execute(
                "UPDATE daytona_sandbox SET state = ?, active_at = ? WHERE id = ?",
                (state, self._clock.now().isoformat(), sandbox_id),
            )

    def begin_run(self, sandbox_id: str) -> str:
        """Note that a program was accepted; returns the run's id. If this process dies, the run was cut."""
        run_id = str(uuid4())
        with self._store.transaction() as db:
            row = (run_id, sandbox_id, self._clock.now().isoformat())
            db.execute("INSERT INTO daytona_run VALUES (?, ?, ?, 'under way', 0)", row)
        return run_id

    def end_run(self, run_id: str, outcome: str, seconds: float) -> None:
        """Note how a program ended (`exit 0`, `timed out`) and how long it ran."""
        with self._store.transaction() as db:
            db.execute("UPDATE daytona_run SET outcome = ?, seconds = ? WHERE id = ?", (outcome, seconds, run_id))
            db.execute(
                "UPDATE daytona_sandbox SET runs = runs + 1, run_seconds = run_seconds + ?, active_at = ? "
                "WHERE id = (SELECT sandbox_id FROM daytona_run WHERE id = ?)",
                (seconds, self._clock.now().isoformat(), run_id),
            )

    def runs(self) -> list[dict[str, Any]]:
        """All programs that were accepted, oldest first, each with its sandbox's labels and size, for the log."""
        with self._store.transaction() as db:
            rows = [dict(row) for row in db.execute(
                "SELECT run.*, body FROM daytona_run AS run JOIN daytona_sandbox AS box ON box.id = sandbox_id "
                "ORDER BY run.rowid")]
        bodies = [json.loads(row.pop("body")) for row in rows]
        return [{**row, **{key: body[key] for key in ("labels", "cpu", "memory", "disk")}}
                for row, body in zip(rows, bodies, strict=True)]

    def rows(self) -> list[dict[str, Any]]:
        """All sandboxes that ever were, for the log."""
        with self._store.transaction() as db:
            self._let_time_pass()
            rows = [dict(row) for row in db.execute("SELECT * FROM daytona_sandbox ORDER BY rowid")]
        return [{**row, "body": json.loads(row["body"])} for row in rows]

    def _let_time_pass(self) -> None:
        """Stop what has been idle for its interval, and destroy what has outlived its time."""
        now = self._clock.now()
        with self._store.transaction() as db:
            for row in db.execute("SELECT * FROM daytona_sandbox WHERE state <> 'destroyed'").fetchall():
                body = json.loads(row["body"])
                idle = now - datetime.fromisoformat(row["active_at"])
                interval = body["autoStopInterval"]
                if body.get("autoDestroyAt") and now >= datetime.fromisoformat(body["autoDestroyAt"]):
                    self.set_state(row["id"], "destroyed")
                elif row["state"] == "started" and interval and idle >= timedelta(minutes=interval):
                    self.set_state(row["id"], "stopped")

    def _answer(self, body: dict[str, Any], state: str, created_at: str, active_at: str) -> dict[str, Any]:
        times = {"createdAt": created_at, "updatedAt": active_at, "lastActivityAt": active_at}
        return {**body, "state": state, "desiredState": state, **times}
