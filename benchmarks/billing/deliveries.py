"""Events delivered per second to the emulated Polar and to a sink, and whose time that is."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks.billing.databases import Databases, opened, settle_down
from benchmarks.billing.processes import Server, Worker, emulator, sink
from benchmarks.billing.results import Number, Results, progress
from benchmarks.billing.rows import Copier, add_accounts
from benchmarks.figures import percentile
from chatapp.billing import outbox
from chatapp.billing.ledger import CHANNEL
from chatapp.db import Database, now

OWNERS = 100
SEVERAL = 2
"""Worker processes: as many as the machine has cores, one of which the other side needs."""
SPLIT_BATCHES = 10


class NotDelivered(Exception):
    """Events are left over, or were counted wrongly."""


def run(databases: Databases, results: Results, *, folder: Path, events: int) -> None:
    """Measure before each kind of Polar, on each database in turns."""
    with opened(databases.fresh("deliveries")) as made, sink() as plain, emulator(folder) as polar:
        copiers = {}
        for name, db in made.items():
            add_accounts(db, [f"account-{number}" for number in range(OWNERS)], pay_per_use=True, at=now())
            copiers[name] = Copier(db)
        for kind, server in (("sink", plain), ("emulator", polar)):
            for name, db in made.items():
                _both(db, name, copiers[name], kind, server, events, results)
        for name, db in made.items():
            _fill(db, copiers[name], "split", events)
            results.add("deliver, our own share of a batch", name, _split(db, plain))


def _fill(db: Database, copier: Copier, prefix: str, events: int) -> None:
    progress(f"{prefix}: {events:,} events to deliver …")
    copier.outbox(prefix, events, owners=OWNERS, since=now() - timedelta(hours=1))
    settle_down(db)


def _both(db: Database, name: str, copier: Copier, kind: str, server: Server, events: int, results: Results) -> None:
    """With one worker process, and with several."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(db, server.url)) for _ in range(SEVERAL)]
        for count in (1, SEVERAL):
            # Names of its own for each case and database: the emulator knows an event for ever.
            _fill(db, copier, f"{kind}-{name}-{count}", events)
            results.add(f"deliver to the {kind}, {count} worker{'s' * (count > 1)}", name,
                        _delivered(db, server, workers[:count], events))


def _delivered(db: Database, server: Server, workers: list[Worker], events: int) -> dict[str, Number]:
    before = _cpu_seconds(server.pid)
    began = time.perf_counter()
    for worker in workers:
        worker.ask("deliver")
    answers = [worker.answer() for worker in workers]
    took = time.perf_counter() - began
    left, sent = outbox.pending(db, CHANNEL), sum(answer["sent"] for answer in answers)
    if (left, sent) != (0, events):
        raise NotDelivered(f"{sent} of {events} were sent, {left} are left.")
    return {
        "events_per_second": events / took,
        "our_cpu_us_per_event": 1e6 * sum(answer["cpu_seconds"] for answer in answers) / events,
        "their_cpu_us_per_event": 1e6 * (_cpu_seconds(server.pid) - before) / events,
    }


def _split(db: Database, server: Server) -> dict[str, Number]:
    """The median time of each part of a batch's way through one worker."""
    with Worker(db, server.url) as worker:
        worker.ask("claims", times=SPLIT_BATCHES)
        statements = worker.answer()
        worker.ask("encode", times=SPLIT_BATCHES)
        encoded = worker.answer()
    return {"events_per_batch": encoded["events"], "request_bytes": encoded["bytes"],
            "claim_ms": 1000 * percentile(statements["claim_seconds"], 0.5),
            "encode_ms": 1000 * percentile(encoded["encode_seconds"], 0.5),
            "mark_ms": 1000 * percentile(statements["mark_seconds"], 0.5)}


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
