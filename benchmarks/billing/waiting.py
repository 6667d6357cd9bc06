"""Memory of a process while many events wait and while it delivers them, and whether claiming stays fast then."""

from __future__ import annotations

import time
from datetime import timedelta

import psutil

from benchmarks.billing import plans
from benchmarks.billing.databases import Databases, opened, settle_down
from benchmarks.billing.processes import Worker, sink
from benchmarks.billing.results import Number, Results, milliseconds, progress
from benchmarks.billing.rows import Copier, add_accounts
from chatapp.billing import delivery, outbox
from chatapp.billing.ledger import CHANNEL
from chatapp.db import Database, now

OWNERS = 100
CLAIMS = 20
LOOK_SECONDS = 0.05
MEGA = 1_000_000


def run(databases: Databases, results: Results, *, events: int, seconds: float) -> None:
    """Measure with an empty outbox, with `events` in it, and while they are delivered to the sink for a while."""
    with opened(databases.fresh("waiting")) as made, sink() as server:
        for name, db in made.items():
            add_accounts(db, [f"account-{number}" for number in range(OWNERS)], pay_per_use=True, at=now())
            with Worker(db, server.url) as worker:
                results.add(f"memory, {events:,} events wait", name,
                            _memory(db, worker, name, events, seconds, results))


def _memory(db: Database, worker: Worker, name: str, events: int, seconds: float,
            results: Results) -> dict[str, Number]:
    copier = Copier(db)
    copier.outbox("first", 2 * delivery.BATCH, owners=OWNERS, since=now() - timedelta(hours=3))
    worker.ask("deliver")  # what a worker needs once, its code and its connections, is not counted
    worker.answer()
    before = _rss_mb(worker)
    progress(f"{name}: {events:,} events wait …")
    copier.outbox("event", events, owners=OWNERS, since=now() - timedelta(hours=2))
    settle_down(db)
    waiting = _rss_mb(worker)
    worker.ask("claims", times=CLAIMS)
    claims = worker.answer()
    results.add(f"claim a batch, {events:,} events wait", name, milliseconds(claims["claim_seconds"]))
    if events >= plans.FEW_ROWS:
        _demand_index(db)
    most, rate = _while_delivering(db, worker, events, seconds)
    return {"rss_before_mb": before, "rss_waiting_mb": waiting, "rss_delivering_max_mb": most,
            "delivered_per_second": rate}


def _while_delivering(db: Database, worker: Worker, events: int, seconds: float) -> tuple[float, float]:
    """The most memory, and the events per second, until all are delivered or the time is over."""
    process = psutil.Process(worker.pid)
    worker.ask("deliver")
    began, most = time.perf_counter(), process.memory_info().rss / MEGA
    while not worker.answered(LOOK_SECONDS) and time.perf_counter() - began < seconds:
        most = max(most, process.memory_info().rss / MEGA)
    took = time.perf_counter() - began
    return most, (events - outbox.pending(db, CHANNEL)) / took


def _rss_mb(worker: Worker) -> float:
    worker.ask("memory")
    return float(worker.answer()["rss_bytes"]) / MEGA


class SortsAllThatWait(Exception):
    """Claiming a batch reads or sorts everything that waits: it becomes slower with each event."""


def _demand_index(db: Database) -> None:
    with plans.recorded(db) as statements:
        outbox.claim_batch(db, CHANNEL, 1, 0, now())
    bad = [*plans.whole_tables_read(db, statements), *plans.sorts(db, statements)]
    if bad:
        raise SortsAllThatWait(str(bad))
