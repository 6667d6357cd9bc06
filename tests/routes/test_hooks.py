"""The Send Email Hook: what Supabase sends, and what somebody else does."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select
from starlette.applications import Starlette

from chatapp import settings as app_settings
from chatapp.clients.supabase import Supabase
from chatapp.db import Database
from chatapp.mail.templates import NOTICES
from chatapp.models import OutboxMessage
from chatapp.routes import hooks
from chatapp.settings import Settings

SECRET, OLD_SECRET = (f"v1,whsec_{base64.b64encode(name * 4).decode()}" for name in (b"new-key!", b"old-key!"))
URL = "https://chat.example"


class Hook:
    """The hook's route on a database, and a caller who knows a secret."""

    def __init__(self, db: Database, secrets: str = SECRET) -> None:
        self.settings: Settings = app_settings.load(
            {"PUBLIC_URL": URL, "API_URL": URL, "SEND_EMAIL_HOOK_SECRET": secrets, "MAIL_FROM": "Chat <a@chat.example>"}
        )
        self.db = db
        self.woken = 0
        app = Starlette(routes=hooks.routes(self, wake_mail=self._wake))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL)

    @property
    def supabase(self) -> Supabase:
        return Supabase(self.settings.supabase, self.http)

    def _wake(self) -> None:
        self.woken += 1

    async def call(self, payload: Any, *, at: float = 0.0, secret: str = SECRET, **headers: str) -> httpx.Response:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        stamp = str(int(time.time() + at))
        signed = {
            "webhook-id": "msg_1", "webhook-timestamp": stamp,
            "webhook-signature": signature(secret, "msg_1", stamp, body), "content-type": "application/json",
        }
        return await self.http.post("/api/hooks/send-email", content=body, headers={**signed, **headers})

    def queued(self) -> list[OutboxMessage]:
        with self.db.reading() as session:
            return list(session.exec(select(OutboxMessage).order_by(OutboxMessage.key)))


def signature(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("v1,whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def payload(action: str = "signup", **data: str) -> dict[str, Any]:
    return {
        "metadata": {"uuid": "3c1f", "time": "2026-11-20T12:00:00Z", "name": "send-email"},
        "user": {"id": "8a2e", "email": "now@example.com", "new_email": "next@example.com", "user_metadata": {}},
        "email_data": {
            "token": "111111", "token_hash": "hash-one", "token_new": "222222", "token_hash_new": "hash-two",
            "redirect_to": URL, "site_url": "https://x.supabase.co", "email_action_type": action, "provider": "google",
            "factor_type": "totp", "old_email": "old@example.com", "old_phone": "", **data,
        },
    }


async def test_a_signed_call_queues_its_mail_once_however_often_it_comes(db: Database) -> None:
    hook = Hook(db)
    for _ in range(3):
        answer = await hook.call(payload())
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["content-type"] == "application/json"
    (mail,) = hook.queued()
    assert (mail.channel, mail.key, mail.payload["to"]) == ("mail", "3c1f", "now@example.com")
    assert f"{URL}/auth/confirm/?token_hash=hash-one&type=signup" in mail.payload["text"]
    assert hook.woken == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-signature": "v1," + base64.b64encode(b"0" * 32).decode()},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,====="},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "nonsense"},
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e999"},
        {"webhook-timestamp": ""},
    ],
)
async def test_a_forged_call_queues_nothing(sqlite_db: Database, headers: dict[str, str]) -> None:
    hook = Hook(sqlite_db)
    answer = await hook.call(payload(), **headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["http_code"] == 401
    assert hook.queued() == []


async def test_a_refused_signature_is_logged_without_the_body(
    sqlite_db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook(sqlite_db)
    await hook.call(b"anything a stranger sends", **{"webhook-signature": "nonsense"})
    assert "refused a call of 25 bytes" in caplog.text
    assert "SEND_EMAIL_HOOK_SECRET" in caplog.text
    assert "stranger" not in caplog.text


@pytest.mark.parametrize("at", [-301, 302])
async def test_an_old_or_early_call_is_refused(sqlite_db: Database, at: float) -> None:
    hook = Hook(sqlite_db)
    assert (await hook.call(payload(), at=at)).status_code == 401
    assert hook.queued() == []


async def test_a_changed_body_is_refused(sqlite_db: Database) -> None:
    hook = Hook(sqlite_db)
    good, evil = json.dumps(payload()).encode(), json.dumps(payload("recovery")).encode()
    stamp = str(int(time.time()))
    answer = await hook.call(evil, **{"webhook-signature": signature(SECRET, "msg_1", stamp, good)})
    assert answer.status_code == 401


async def test_a_call_signed_with_another_secret_is_refused(sqlite_db: Database) -> None:
    assert (await Hook(sqlite_db).call(payload(), secret=OLD_SECRET)).status_code == 401


@pytest.mark.parametrize("joint", [", ", " ", ","])
async def test_several_signatures_are_understood_while_the_secret_is_changed(sqlite_db: Database, joint: str) -> None:
    hook = Hook(sqlite_db)
    body, stamp = json.dumps(payload()).encode(), str(int(time.time()))
    both = joint.join(signature(secret, "msg_1", stamp, body) for secret in (OLD_SECRET, SECRET))
    assert (await hook.call(body, **{"webhook-signature": both})).status_code == 200


async def test_either_of_two_secrets_of_ours_is_enough(sqlite_db: Database) -> None:
    hook = Hook(sqlite_db, f"{SECRET}|{OLD_SECRET}")
    assert (await hook.call(payload(), secret=OLD_SECRET)).status_code == 200
    assert (await hook.call(payload(), secret=SECRET)).status_code == 200


async def test_a_change_of_address_writes_to_both_with_the_crossed_tokens(db: Database) -> None:
    hook = Hook(db)
    for _ in range(2):
        assert (await hook.call(payload("email_change"))).status_code == 200
    current, new = hook.queued()
    assert [(mail.key, mail.payload["to"]) for mail in (current, new)] == [
        ("3c1f:current", "now@example.com"), ("3c1f:new", "next@example.com")]
    assert "token_hash=hash-two" in current.payload["text"]
    assert "token_hash=hash-one" in new.payload["text"]
    assert "next@example.com" in current.payload["text"]
    assert "now@example.com" not in new.payload["text"]


async def test_a_change_that_only_the_new_address_confirms_writes_to_that_alone(sqlite_db: Database) -> None:
    hook = Hook(sqlite_db)
    await hook.call(payload("email_change", token_new="", token_hash_new=""))
    (mail,) = hook.queued()
    assert mail.payload["to"] == "next@example.com"
    assert "token_hash=hash-one" in mail.payload["text"]


@pytest.mark.parametrize("action", ["signup", "recovery", "magiclink", "invite", "email"])
async def test_each_link_names_its_own_kind(sqlite_db: Database, action: str) -> None:
    hook = Hook(sqlite_db)
    await hook.call(payload(action))
    assert f"type={action}\n" in hook.queued()[0].payload["text"]


@pytest.mark.parametrize(("seconds", "kind"), [(5, "signup"), (3600, "renewed_signup")])
async def test_a_sign_up_of_an_account_that_waits_already_leads_to_a_new_password(
    sqlite_db: Database, seconds: int, kind: str
) -> None:
    hook, call = Hook(sqlite_db), payload()
    created = datetime.fromisoformat(call["metadata"]["time"]) - timedelta(seconds=seconds)
    call["user"]["created_at"] = created.isoformat()
    await hook.call(call)
    assert f"type={kind}\n" in hook.queued()[0].payload["text"]


async def test_a_reauthentication_carries_the_code(sqlite_db: Database) -> None:
    hook = Hook(sqlite_db)
    await hook.call(payload("reauthentication"))
    assert "111111" in hook.queued()[0].payload["text"]
    assert "hash-one" not in hook.queued()[0].payload["text"]


@pytest.mark.parametrize("action", NOTICES)
async def test_a_notice_goes_to_whoever_must_know(sqlite_db: Database, action: str) -> None:
    hook = Hook(sqlite_db)
    assert (await hook.call(payload(action))).status_code == 200
    to = "old@example.com" if action == "email_changed_notification" else "now@example.com"
    assert hook.queued()[0].payload["to"] == to


@pytest.mark.parametrize(
    ("redirect_to", "after"),
    [
        (f"{URL}/t/1?a=b", "&next=%2Ft%2F1%3Fa%3Db"),
        (f"{URL}/", ""),
        ("https://evil.example/t", ""),
        (f"{URL}.evil.example/t", ""),
        (f"{URL}//evil.example", ""),
        ("", ""),
    ],
)
async def test_a_link_leads_on_only_within_our_own_site(sqlite_db: Database, redirect_to: str, after: str) -> None:
    hook = Hook(sqlite_db)
    await hook.call(payload(redirect_to=redirect_to))
    assert f"token_hash=hash-one&type=signup{after}\n" in hook.queued()[0].payload["text"]


@pytest.mark.parametrize("body", [{}, [], payload("sms"), b"\xff", b"not json", {"metadata": {"uuid": "1"}}])
async def test_a_payload_that_makes_no_mail_is_refused_in_supabases_form(sqlite_db: Database, body: Any) -> None:
    hook = Hook(sqlite_db)
    answer = await hook.call(body)
    assert answer.status_code in (400, 401)
    assert answer.json()["error"]["http_code"] == answer.status_code
    assert answer.json()["error"]["message"]
    assert hook.queued() == []


async def test_a_megabyte_is_refused_unread(sqlite_db: Database) -> None:
    answer = await Hook(sqlite_db).call(b"x" * 2**20)
    assert (answer.status_code, answer.json()["error"]["http_code"]) == (413, 413)
