"""The queue in our own tables."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from chatapp.billing import leases, outbox
from chatapp.db import Database
from tests.billing.conftest import NOON


def fill(db: Database, count: int, channel: str = "mail") -> None:
    with db.session() as session:
        for number in range(count):
            outbox.enqueue(session, channel, f"key-{number}", {"number": number}, due=NOON + timedelta(seconds=number))


def numbers(messages: list[outbox.OutboxMessage]) -> list[int]:
    return [message.payload["number"] for message in messages]


def test_the_oldest_come_first_and_only_of_the_channel(db: Database) -> None:
    fill(db, 5)
    fill(db, 1, "usage")
    later = NOON + timedelta(minutes=1)
    assert numbers(outbox.claim(db, "mail", 3, 60, later)) == [0, 1, 2]
    assert numbers(outbox.claim(db, "mail", 3, 60, later)) == [3, 4]
    assert outbox.claim(db, "mail", 3, 60, later) == []


def test_what_is_not_due_yet_stays(db: Database) -> None:
    fill(db, 5)
    assert numbers(outbox.claim(db, "mail", 9, 60, NOON + timedelta(seconds=2))) == [0, 1, 2]


def test_workers_at_once_share_the_work_without_overlap(db: Database) -> None:
    fill(db, 60)
    later = NOON + timedelta(minutes=5)

    def drain(_: int) -> list[int]:
        mine: list[int] = []
        while batch := outbox.claim(db, "mail", 7, 60, later):
            mine += numbers(batch)
        return mine
    with ThreadPoolExecutor(6) as pool:
        shares = list(pool.map(drain, range(6)))
    assert sorted(number for share in shares for number in share) == list(range(60))


def test_a_dead_workers_messages_are_claimed_by_the_next(db: Database) -> None:
    fill(db, 1)
    outbox.claim(db, "mail", 9, 60, NOON)
    assert outbox.claim(db, "mail", 9, 60, NOON + timedelta(seconds=59)) == []
    again = outbox.claim(db, "mail", 9, 60, NOON + timedelta(seconds=61))
    assert [message.attempts for message in again] == [2]


def test_a_renewed_lease_keeps_other_workers_away(db: Database) -> None:
    fill(db, 1)
    [message] = outbox.claim(db, "mail", 9, 60, NOON)
    outbox.renew(db, [message.id], 60, NOON + timedelta(seconds=50))
    assert outbox.claim(db, "mail", 9, 60, NOON + timedelta(seconds=109)) == []
    assert len(outbox.claim(db, "mail", 9, 60, NOON + timedelta(seconds=111))) == 1


def test_a_key_is_queued_once_however_often_it_is_written(db: Database) -> None:
    fill(db, 2)
    fill(db, 2)
    assert outbox.pending(db, "mail") == 2


def test_a_message_of_a_transaction_that_fails_is_never_sent(db: Database) -> None:
    def fail() -> None:
        with db.session() as session:
            outbox.enqueue(session, "mail", "key", {})
            raise RuntimeError("midway")
    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert outbox.pending(db, "mail") == 0


def test_delivered_retried_and_parked_messages_go_their_ways(db: Database) -> None:
    fill(db, 3)
    later = NOON + timedelta(minutes=1)
    first, second, third = outbox.claim(db, "mail", 9, 60, later)
    outbox.delivered(db, [first.id], later)
    outbox.retry(db, [second.id], later + timedelta(seconds=30), "down")
    outbox.park(db, third.id, "no such address", later)
    assert outbox.claim(db, "mail", 9, 60, later + timedelta(seconds=29)) == []
    due = outbox.claim(db, "mail", 9, 60, later + timedelta(seconds=30))
    assert [(message.id, message.reason) for message in due] == [(second.id, "down")]
    assert outbox.unpark(db, "mail", later) == 1
    assert numbers(outbox.claim(db, "mail", 9, 60, later)) == [2]


def test_a_late_worker_cannot_put_back_what_another_has_delivered(db: Database) -> None:
    fill(db, 1)
    message = outbox.claim(db, "mail", 9, 60, NOON)[0]
    outbox.delivered(db, [message.id], NOON)
    outbox.retry(db, [message.id], NOON, "too late")
    outbox.park(db, message.id, "too late", NOON)
    assert outbox.pending(db, "mail") == 0
    assert outbox.unpark(db, "mail", NOON) == 0


def test_a_periodic_job_runs_once_whatever_the_number_of_processes(db: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: leases.claim(db, "reconcile:2026-11-20T12", 60, NOON), range(8)))
    assert claims.count(True) == 1
    leases.finish(db, "reconcile:2026-11-20T12", "0 differences", NOON)
    assert not leases.claim(db, "reconcile:2026-11-20T12", 60, NOON + timedelta(days=1))
    assert leases.claim(db, "reconcile:2026-11-20T13", 60, NOON)


def test_a_job_whose_process_died_is_run_by_another(db: Database) -> None:
    def claim(at: datetime) -> bool:
        return leases.claim(db, "job", 60, at)
    assert claim(NOON)
    assert not claim(NOON + timedelta(seconds=60))
    assert claim(NOON + timedelta(seconds=61))


def test_a_lock_is_free_again_when_its_holder_is_done_or_gives_up(db: Database) -> None:
    def claim() -> bool:
        return leases.claim(db, "provision", 60, NOON, repeats=True)
    assert claim()
    assert not claim()
    leases.finish(db, "provision", "done", NOON)
    assert claim()
    leases.give_up(db, "provision", "failed", NOON)
    assert claim()
