"""`POST /api/webhooks/polar`: everything signed is kept once and acknowledged, nothing else is."""

import time
from typing import cast

import httpx
import pytest
from sqlmodel import select
from starlette.applications import Starlette

from chatapp.clients.polar import Polar
from chatapp.db import Database
from chatapp.models import InboxMessage
from chatapp.routes import webhooks
from chatapp.services import Services
from chatapp.settings import load
from tests.billing.town import BillingServices
from tests.clients.test_polar import signed

SETTINGS = load({})
KEY = SETTINGS.polar_webhook_secret.encode()
BODY = b'{"type":"subscription.active","data":{}}'


class Door:
    """The route, with a count of how often it woke the worker."""

    def __init__(self, db: Database) -> None:
        services = cast(Services, BillingServices(SETTINGS, db, Polar(SETTINGS.polar)))
        app = Starlette(routes=webhooks.routes(services, self._wake))
        self.browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")
        self.db, self.woken = db, 0

    def _wake(self) -> None:
        self.woken += 1

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        return (await self.browser.post("/api/webhooks/polar", content=body, headers=headers)).status_code

    def kept(self) -> list[InboxMessage]:
        with self.db.reading() as session:
            return list(session.exec(select(InboxMessage)).all())


@pytest.fixture
def door(db: Database) -> Door:
    return Door(db)


async def test_a_signed_webhook_is_kept_raw_and_acknowledged_quickly(door: Door) -> None:
    begun = time.perf_counter()
    assert await door.post(BODY, signed(KEY, BODY)) == 202
    assert time.perf_counter() - begun < 1
    assert [(row.id, row.source, row.type, row.body) for row in door.kept()] == [
        ("msg_1", "polar", "subscription.active", BODY.decode())]
    assert door.woken == 1


async def test_the_same_webhook_again_is_the_same_row(door: Door) -> None:
    for _ in range(3):
        assert await door.post(BODY, signed(KEY, BODY)) == 202
    assert len(door.kept()) == 1


async def test_unknown_types_and_strange_bodies_are_acknowledged_if_signed(door: Door) -> None:
    for number, body in enumerate((b'{"type":"moon.landed"}', b"[]", b'{"type":null}', b"not json")):
        assert await door.post(body, signed(KEY, body, message_id=f"m{number}")) == 202
    assert len(door.kept()) == 4


async def test_a_forged_a_changed_and_a_replayed_webhook_are_refused_and_forgotten(door: Door) -> None:
    assert await door.post(BODY, signed(b"guessed", BODY)) == 403
    assert await door.post(BODY + b" ", signed(KEY, BODY)) == 403
    assert await door.post(BODY, signed(KEY, BODY, at=time.time() - 400)) == 403
    assert await door.post(BODY, {}) == 403
    assert door.kept() == []
    assert door.woken == 0


async def test_a_body_above_a_megabyte_is_refused(door: Door) -> None:
    body = b"x" * (1024 * 1024 + 1)
    assert await door.post(body, signed(KEY, body)) == 413


async def test_an_id_longer_than_polars_is_refused(door: Door) -> None:
    assert await door.post(BODY, signed(KEY, BODY, message_id="m" * 201)) == 403
