"""Resend: takes mail, keeps it, sends nothing. The console shows the inbox."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulators.resend_rules import Refused, check, many

if TYPE_CHECKING:
    from emulators.world import World

SCHEMA = """
CREATE TABLE IF NOT EXISTS resend_email (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS resend_idempotency (
    key TEXT PRIMARY KEY, request_hash TEXT NOT NULL, answer TEXT NOT NULL, created_at TEXT NOT NULL);
"""
BATCH_LIMIT = 100
IDEMPOTENCY_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class Mail:
    """One mail as it was handed in. `created_at` is ISO 8601 in UTC; absent parts are None or empty."""

    id: str
    created_at: str
    sender: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    html: str | None
    text: str | None
    headers: dict[str, str]
    tags: list[dict[str, str]]

    def json(self) -> dict[str, Any]:
        """As `GET /emails/{id}` shows it, and the headers and tags besides."""
        body: dict[str, Any] = {
            "object": "email",
            "id": self.id,
            "message_id": f"<{self.id}@email.emulated>",
            "to": self.to,
            "from": self.sender,
            "created_at": self.created_at,
            "subject": self.subject,
            "bcc": self.bcc,
            "cc": self.cc,
            "reply_to": self.reply_to,
            "last_event": "delivered",
            "headers": self.headers,
            "tags": self.tags,
        }
        parts = {"html": self.html, "text": self.text}
        return body | {name: value for name, value in parts.items() if value is not None}


def inbox(world: World, *, to: str | None = None) -> list[Mail]:
    """All mail, newest first; with `to`, what went to that address (also as copy)."""
    with world.store.transaction() as db:
        rows = db.execute("SELECT id, created_at, body FROM resend_email ORDER BY number DESC").fetchall()
    mails = [_mail(row["id"], row["created_at"], json.loads(row["body"])) for row in rows]
    wanted = (to or "").lower()
    return [mail for mail in mails if not wanted or wanted in _recipients(mail)]


def find(world: World, mail_id: str) -> Mail | None:
    """One mail by its id."""
    with world.store.transaction() as db:
        row = db.execute("SELECT id, created_at, body FROM resend_email WHERE id = ?", (mail_id,)).fetchone()
    return _mail(row["id"], row["created_at"], json.loads(row["body"])) if row else None


def routes(world: World) -> list[BaseRoute]:
    """The API, to be mounted below /resend, and the inbox as JSON for tests."""
    world.store.create(SCHEMA)
    limit = RateLimit(world.config.resend_requests_per_second)

    def guarded(handler: Callable[[World, Request, bytes], Response]) -> Callable[[Request], Any]:
        async def call(request: Request) -> Response:
            body = await request.body()
            try:
                _authorise(world, request)
                limit.take()
                response = handler(world, request, body)
            except Refused as refused:
                response = JSONResponse(refused.body, refused.status, refused.headers)
            response.headers.update(limit.headers())
            return response

        return call

    async def as_json(request: Request) -> Response:
        return JSONResponse({"data": [mail.json() for mail in inbox(world, to=request.query_params.get("to"))]})

    return [
        Route("/emails", guarded(_send), methods=["POST"]),
        Route("/emails/batch", guarded(_send_batch), methods=["POST"]),
        Route("/emails/{email_id}", guarded(_get), methods=["GET"]),
        Route("/_emulator/inbox", as_json, methods=["GET"]),
    ]


class RateLimit:
    """At most so many requests in any second of real time."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second
        self._taken: deque[float] = deque()

    def take(self) -> None:
        """Count a request, or refuse it with 429."""
        now = time.monotonic()
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= self._limit:
            message = f"Too many requests. You can only make {self._limit} requests per second."
            raise Refused(429, "rate_limit_exceeded", message, {"retry-after": "1"})
        self._taken.append(now)

    def headers(self) -> dict[str, str]:
        """What Resend tells about the limit; `ratelimit-reset` in seconds."""
        remaining = max(0, self._limit - len(self._taken))
        return {"ratelimit-limit": str(self._limit), "ratelimit-remaining": str(remaining), "ratelimit-reset": "1"}


def _authorise(world: World, request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Refused(401, "missing_api_key", "Missing API Key")
    if key != world.config.keys["resend"]:
        raise Refused(403, "invalid_api_key", "API key is invalid")


def _send(world: World, request: Request, body: bytes) -> Response:
    def accept() -> dict[str, Any]:
        return {"id": _keep(world, check(_parse(body)))}

    return _once(world, request, body, accept)


def _send_batch(world: World, request: Request, body: bytes) -> Response:
    """Strict (the default): all or none. Permissive: the good ones, and the errors of the others by their index."""
    emails = _parse(body)
    if not isinstance(emails, list) or not 1 <= len(emails) <= BATCH_LIMIT:
        raise Refused(422, "validation_error", f"The batch must hold between 1 and {BATCH_LIMIT} emails.")
    permissive = request.headers.get("x-batch-validation") == "permissive"

    def accept() -> dict[str, Any]:
        good, errors = [], []
        for index, email in enumerate(emails):
            try:
                good.append(check(email, batch=True))
            except Refused as refused:
                if not permissive:
                    raise
                errors.append({"index": index, "message": refused.body["message"]})
        answer: dict[str, Any] = {"data": [{"id": _keep(world, email)} for email in good]}
        return answer | ({"errors": errors} if permissive else {})

    return _once(world, request, body, accept)


def _get(world: World, request: Request, body: bytes) -> Response:
    mail = find(world, request.path_params["email_id"])
    if mail is None:
        raise Refused(404, "not_found", "Email not found")
    shown = mail.json()
    del shown["headers"]
    return JSONResponse(shown)


def _once(world: World, request: Request, body: bytes, accept: Callable[[], dict[str, Any]]) -> Response:
    """Accept the request, or with an idempotency key that was used within 24 hours, repeat the first answer."""
    key = request.headers.get("idempotency-key")
    if key is None:
        with world.store.transaction():
            return JSONResponse(accept())
    if not 1 <= len(key) <= 256:
        raise Refused(400, "invalid_idempotency_key", "The idempotency key must be between 1-256 characters")
    fingerprint = hashlib.sha256(f"{request.url.path}\n".encode() + _canonical(body)).hexdigest()
    now = world.clock.now()
    with world.store.transaction() as db:
        forgotten = (now - IDEMPOTENCY_LIFETIME).isoformat()
        db.execute("DELETE FROM resend_idempotency WHERE created_at <= ?", (forgotten,))
        row = db.execute("SELECT * FROM resend_idempotency WHERE key = ?", (key,)).fetchone()
        if row is None:
            answer = accept()
            values = (key, fingerprint, json.dumps(answer), now.isoformat())
            db.execute("INSERT INTO resend_idempotency VALUES (?, ?, ?, ?)", values)
            return JSONResponse(answer)
    if row["request_hash"] != fingerprint:
        message = "This idempotency key has been used with a different request payload"
        raise Refused(409, "invalid_idempotent_request", message)
    return JSONResponse(json.loads(row["answer"]))


def _parse(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except ValueError as error:
        raise Refused(400, "validation_error", "The request body is not valid JSON.") from error
    return parsed


def _canonical(body: bytes) -> bytes:
    return json.dumps(_parse(body), sort_keys=True).encode()


def _keep(world: World, email: dict[str, Any]) -> str:
    mail_id = str(uuid.uuid4())
    values = (mail_id, world.clock.now().isoformat(), json.dumps(email))
    with world.store.transaction() as db:
        db.execute("INSERT INTO resend_email (id, created_at, body) VALUES (?, ?, ?)", values)
    return mail_id


def _mail(mail_id: str, created_at: str, body: dict[str, Any]) -> Mail:
    return Mail(
        mail_id, created_at, body["from"], many(body, "to"), many(body, "cc"), many(body, "bcc"),
        many(body, "reply_to"), body["subject"], body.get("html"), body.get("text"), body.get("headers") or {},
        body.get("tags") or [],
    )  # fmt: skip


def _recipients(mail: Mail) -> set[str]:
    """Bare addresses in lower case, of `Name <address>` too."""
    listed = [*mail.to, *mail.cc, *mail.bcc]
    return {entry.rsplit("<", 1)[-1].rstrip("> ").strip().lower() for entry in listed}
