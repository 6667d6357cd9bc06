"""Faults on demand: what a vendor's bad day looks like to a client, switched on per vendor by page or by HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from enum import StrEnum

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulators.store import Store

EMULATOR_PATH = "/_emulator/"
"""Paths that contain this belong to the emulators themselves, not to a vendor: no fault applies to them."""


class Fault(StrEnum):
    """The kinds of fault. The first five act on requests; a vendor's delivery code honours the webhook ones."""

    DOWN = "down"
    SLOW = "slow"
    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "500"
    LOST_ANSWER = "lost_answer"
    WEBHOOK_TWICE = "webhook_twice"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_FORGED = "webhook_forged"


SCHEMA = """
CREATE TABLE IF NOT EXISTS fault (
    vendor TEXT NOT NULL, kind TEXT NOT NULL, remaining INTEGER, path TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 3, PRIMARY KEY (vendor, kind));
"""


class Faults:
    """Which faults are on. A fault may be limited to a number of requests and to paths that contain a string."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(SCHEMA)

    def switch_on(
        self, vendor: str, kind: Fault, *, times: int | None = None, path: str = "", seconds: float = 3.0
    ) -> None:
        """Switch a fault on: for `times` requests (None: until switched off) whose path contains `path`.

        `seconds` is how long SLOW and WEBHOOK_LATE wait.
        """
        with self._store.transaction() as db:
            row = (vendor, kind.value, times, path, seconds)
            db.execute("INSERT OR REPLACE INTO fault VALUES (?, ?, ?, ?, ?)", row)

    def switch_off(self, vendor: str, kind: Fault | None = None) -> None:
        """Switch one fault of a vendor off, or all of them."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM fault WHERE vendor = ? AND (? IS NULL OR kind = ?)", (vendor, kind, kind))

    def active(self) -> list[dict[str, object]]:
        """All faults that are on, as rows of vendor, kind, remaining, path, seconds."""
        with self._store.transaction() as db:
            return [dict(row) for row in db.execute("SELECT * FROM fault ORDER BY vendor, kind")]

    def take(self, vendor: str, kind: Fault, path: str = "") -> float | None:
        """If the fault applies to this request, count it and return its seconds, else None."""
        with self._store.transaction() as db:
            key = (vendor, kind.value)
            row = db.execute("SELECT * FROM fault WHERE vendor = ? AND kind = ?", key).fetchone()
            if row is None or row["path"] not in path:
                return None
            if row["remaining"] is not None:
                db.execute("UPDATE fault SET remaining = remaining - 1 WHERE vendor = ? AND kind = ?", key)
                db.execute("DELETE FROM fault WHERE remaining <= 0")
            return float(row["seconds"])


class FaultMiddleware:
    """ASGI middleware around one vendor's routes that makes the request faults happen."""

    def __init__(self, app: ASGIApp, *, faults: Faults, vendor: str) -> None:
        self.app, self.faults, self.vendor = app, faults, vendor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Apply at most one breaking fault; SLOW combines with the others."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or EMULATOR_PATH in path:
            await self.app(scope, receive, send)
            return
        if (seconds := self.faults.take(self.vendor, Fault.SLOW, path)) is not None:
            await asyncio.sleep(seconds)
        if self.faults.take(self.vendor, Fault.DOWN, path) is not None:
            await _break_off(send)
        elif self.faults.take(self.vendor, Fault.TOO_MANY_REQUESTS, path) is not None:
            await _answer(send, 429, _error_body(self.vendor, 429), [(b"retry-after", b"1")])
        elif self.faults.take(self.vendor, Fault.SERVER_ERROR, path) is not None:
            await _answer(send, 500, _error_body(self.vendor, 500), [])
        elif self.faults.take(self.vendor, Fault.LOST_ANSWER, path) is not None:
            await self.app(scope, receive, _discard)
            await _break_off(send)
        else:
            await self.app(scope, receive, send)


async def _discard(message: Message) -> None:
    """Drop what the vendor answered: it has done its work, and the client never learns of it."""


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    common = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*common, *headers]})
    await send({"type": "http.response.body", "body": body})


def _error_body(vendor: str, status: int) -> bytes:
    """The JSON with which the vendor itself reports this status, so that its SDK recognises the error."""
    limited = status == 429
    message = "Too many requests" if limited else "Internal server error"
    bodies: dict[str, object] = {
        "supabase": {
            "code": status,
            "error_code": "over_request_rate_limit" if limited else "unexpected_failure",
            "msg": message,
        },
        "resend": {
            "statusCode": status,
            "name": "rate_limit_exceeded" if limited else "application_error",
            "message": message,
        },
        "polar": {"error": "TooManyRequests" if limited else "InternalServerError", "detail": message},
        "llm": {
            "error": {
                "message": message,
                "type": "rate_limit_error" if limited else "server_error",
                "code": "rate_limit_exceeded" if limited else "internal_error",
                "param": None,
            }
        },
    }
    return json.dumps(bodies.get(vendor, {"error": message, "message": message})).encode()


async def _break_off(send: Send) -> None:
    """Close the connection without a single byte, which clients see as a network error.

    ASGI has no message for that. A header that HTTP forbids makes uvicorn refuse to write the response after it
    has counted it as started, and a started response that is not completed makes it close the connection.
    """
    with suppress(Exception):  # the refusal is what is wanted, whatever class the HTTP implementation gives it
        await send({"type": "http.response.start", "status": 503, "headers": [(b"not a header", b"")]})
