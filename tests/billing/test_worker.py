"""The loop does all of it by itself, and survives what goes wrong."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select

from chatapp.billing import outbox, provision, worker
from chatapp.billing.books import Difference
from chatapp.db import now
from chatapp.models import Hold, JobRun, UsageEvent
from emulators.faults import Fault
from tests.billing.conftest import Place
from tests.billing.town import Town, until


async def test_the_worker_provisions_delivers_sweeps_and_reconciles(town: Town, place: Place, account: str) -> None:
    town.fault(Fault.SERVER_ERROR, times=3)
    dead = place(now=now() - timedelta(hours=1))
    event_id = town.use(account)
    wake = asyncio.Event()
    task = asyncio.create_task(worker.run(town.services, wake))

    def done() -> bool:
        worker.nudge(wake)
        with town.db.session() as session:
            for message in session.exec(select(outbox.OutboxMessage)
                                        .where(col(outbox.OutboxMessage.delivered_at).is_(None))).all():
                message.next_attempt_at = message.created_at
            swept = session.get(UsageEvent, dead.id) is not None and session.get(Hold, dead.id) is None
        return swept and outbox.pending(town.db, "usage") == 0
    await until(done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert event_id in {event["external_id"] for event in await town.events()}


async def test_hourly_jobs_run_once_for_all_workers(town: Town) -> None:
    await provision.apply(town.services)
    await asyncio.gather(*(worker.hourly_jobs(town.services) for _ in range(3)))
    with town.db.reading() as session:
        runs = session.exec(select(JobRun).where(JobRun.key != "provision")).all()
    assert {run.key.partition(":")[0]: run.outcome for run in runs} == {
        "poll": "0 subscriptions refreshed", "reconcile": "0 differences"}


async def test_the_nightly_reconciliation_runs_once_and_alarms_only_if_the_books_differ(
    town: Town, account: str
) -> None:
    alarms: list[Sequence[Difference]] = []
    await provision.apply(town.services)
    night = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
    await worker.nightly_job(town.services, night - timedelta(minutes=1), alarms.append)
    await asyncio.gather(*(worker.nightly_job(town.services, night, alarms.append) for _ in range(3)))
    assert alarms == []
    town.use(account)
    with town.db.session() as session:
        session.exec(select(outbox.OutboxMessage)).one().parked_at = now()
    await worker.nightly_job(town.services, night + timedelta(hours=9), alarms.append)
    assert alarms == [], "it ran this day already"
    await asyncio.gather(*(worker.nightly_job(town.services, night + timedelta(days=1), alarms.append)
                           for _ in range(3)))
    assert [[(one.what, one.account_id) for one in told] for told in alarms] == [[("undelivered", account)]]
    with town.db.reading() as session:
        runs = session.exec(select(JobRun).where(col(JobRun.key).startswith("books:"))).all()
    assert {run.key: run.outcome for run in runs} == {
        "books:2026-11-20": "0 differences", "books:2026-11-21": "1 differences"}
