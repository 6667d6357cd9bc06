"""Mails from the outbox to Resend: once, whatever happens on the way."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select, update

from chatapp import mail
from chatapp.clients.errors import Unavailable
from chatapp.clients.resend import Resend
from chatapp.db import now
from chatapp.mail.queue import GIVE_UP_AFTER, LONGEST_WAIT_SECONDS, wait_seconds
from chatapp.models import OutboxMessage
from emulators.faults import Fault
from tests.accounts.stage import PASSWORD, Stage, TestBrowser


def enqueue(stage: Stage, key: str, to: str = "a@example.com") -> None:
    with stage.db.session() as session:
        mail.enqueue(session, to, mail.templates.password_changed(stage.settings), key)


async def inbox(stage: Stage) -> list[str]:
    answer = await stage.http.get(f"{stage.settings.resend.url}/_emulator/inbox")
    return sorted(entry["to"][0] for entry in answer.json()["data"])


def rows(stage: Stage) -> dict[str, OutboxMessage]:
    with stage.db.reading() as session:
        return {row.key: row for row in session.exec(select(OutboxMessage))}


def make_due(stage: Stage) -> None:
    with stage.db.session() as session:
        session.exec(update(OutboxMessage).values(next_attempt_at=now() - timedelta(seconds=1)))


async def test_a_mail_is_sent_once_and_its_body_is_forgotten(stage: Stage) -> None:
    for _ in range(2):
        enqueue(stage, "k-1")
    assert [await mail.deliver(stage), await mail.deliver(stage)] == [1, 0]
    assert await inbox(stage) == ["a@example.com"]
    row = rows(stage)["k-1"]
    assert row.delivered_at is not None
    assert row.payload == {"to": "a@example.com", "subject": "Your password was changed"}


async def test_two_workers_send_each_mail_once(stage: Stage) -> None:
    for i in range(12):
        enqueue(stage, f"k-{i}", f"{i:02}@example.com")
    while sum(await asyncio.gather(mail.deliver(stage), mail.deliver(stage))):
        pass
    assert await inbox(stage) == [f"{i:02}@example.com" for i in range(12)]


async def test_a_lost_answer_sends_no_second_mail(stage: Stage) -> None:
    enqueue(stage, "k-1")
    stage.world.faults.switch_on("resend", Fault.LOST_ANSWER, times=1)
    assert await mail.deliver(stage) == 0
    assert rows(stage)["k-1"].delivered_at is None
    make_due(stage)
    assert await mail.deliver(stage) == 1
    assert await inbox(stage) == ["a@example.com"]


async def test_a_worker_that_dies_after_sending_sends_no_second_mail(stage: Stage) -> None:
    enqueue(stage, "k-1")
    payload = rows(stage)["k-1"].payload
    await stage.resend.send(sender=stage.settings.mail_from, key="k-1", **payload)
    assert await mail.deliver(stage) == 1
    assert await inbox(stage) == ["a@example.com"]


@pytest.mark.parametrize("kind", [Fault.DOWN, Fault.SERVER_ERROR, Fault.TOO_MANY_REQUESTS])
async def test_an_outage_keeps_every_mail_and_costs_one_attempt_a_round(sqlite_stage: Stage, kind: Fault) -> None:
    stage = sqlite_stage
    for i in range(3):
        enqueue(stage, f"k-{i}", f"{i}@example.com")
    stage.world.faults.switch_on("resend", kind, times=2)
    before = now()
    assert await mail.deliver(stage) == 0
    assert [fault["remaining"] for fault in stage.world.faults.active()] == [1]
    waiting = rows(stage).values()
    assert all(row.next_attempt_at >= before + timedelta(seconds=1) and row.parked_at is None for row in waiting)
    stage.world.faults.switch_off("resend")
    make_due(stage)
    assert await mail.deliver(stage) == 3


async def test_a_refused_mail_is_parked_with_the_reason_and_stops_no_other(stage: Stage) -> None:
    enqueue(stage, "k-1", "not an address")
    enqueue(stage, "k-2")
    assert await mail.deliver(stage) == 1
    parked = rows(stage)["k-1"]
    assert parked.parked_at is not None
    assert "422" in parked.reason
    assert await inbox(stage) == ["a@example.com"]


async def test_a_wrong_key_loses_no_mail(sqlite_stage: Stage) -> None:
    enqueue(sqlite_stage, "k-1")
    wrong = replace(sqlite_stage, resend=Resend(replace(sqlite_stage.settings.resend, key="re_wrong")))
    assert await mail.deliver(wrong) == 0
    make_due(sqlite_stage)
    assert await mail.deliver(sqlite_stage) == 1


async def test_a_mail_that_could_not_be_sent_for_a_day_is_parked(sqlite_stage: Stage) -> None:
    enqueue(sqlite_stage, "k-1")
    with sqlite_stage.db.session() as session:
        row = session.exec(select(OutboxMessage)).one()
        row.created_at = now() - GIVE_UP_AFTER
    sqlite_stage.world.faults.switch_on("resend", Fault.DOWN)
    await mail.deliver(sqlite_stage)
    assert rows(sqlite_stage)["k-1"].parked_at is not None


def test_waiting_doubles_has_jitter_and_respects_the_vendor() -> None:
    error = Unavailable("down")
    waits = [[wait_seconds(attempts, error) for _ in range(50)] for attempts in (1, 2, 3, 30)]
    for times, longest in zip(waits, (5, 10, 20, LONGEST_WAIT_SECONDS), strict=True):
        assert longest / 2 <= min(times) < max(times) <= longest
    assert wait_seconds(1, Unavailable("slow down", retry_after_seconds=77)) == 77


async def test_a_sign_ups_mail_reaches_the_inbox_with_a_link_that_works(stage: Stage) -> None:
    browser = TestBrowser(stage)
    await browser.post("sign-up", email="new@example.com", password=PASSWORD)
    link = stage.link("new@example.com")
    assert await mail.deliver(stage) == 1
    assert await inbox(stage) == ["new@example.com"]
    await browser.post("confirm", **link)
    assert browser.session is not None
