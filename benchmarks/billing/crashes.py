"""Usage at a steady pace while the process is killed, or while Polar loses its answers: what is lost, what is doubled.

The same kind of run as in facts about others' products: events at 50 a second, `kill -9` in the middle, a server that
fails after it has committed.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from sqlalchemy import func, update
from sqlmodel import select

from benchmarks.billing.databases import Databases, opened
from benchmarks.billing.processes import Server, address, emulator, emulator_file
from benchmarks.billing.results import Number, Results, progress
from benchmarks.billing.rows import add_accounts
from benchmarks.billing.tracker import ACCOUNT
from benchmarks.billing.worker import services
from chatapp.billing import delivery, holds, outbox, provision
from chatapp.billing.hold_rows import LEASE
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.clients.polar import Polar
from chatapp.db import Database, now
from chatapp.models import OutboxMessage, UsageEvent
from tests.conftest import ROOT

if TYPE_CHECKING:
    from chatapp.services import Services  # it imports every vendor's SDK

LATEST = timedelta(minutes=1)


def run(databases: Databases, results: Results, *, folder: Path, events: int, rate: float, kills: int,
        lost_answers: int) -> None:
    """Both runs on each database; each has a Polar of its own. A lost answer is one that Polar carried out and sent."""
    for case, times, lost in ((f"killed {kills} times", kills, 0), (f"{lost_answers} answers lost", 0, lost_answers)):
        with opened(databases.fresh(f"crash_{times}_{lost}")) as made:
            for name, db in made.items():
                progress(f"{name}: {events} events, {case} …")
                place = folder / f"{name}-{times}-{lost}"
                place.mkdir()
                with emulator(place) as server:
                    values = asyncio.run(_case(db, server, emulator_file(place), events, rate, times, lost))
                results.add(f"{events} events at {rate:g}/s, {case}", name, values)


async def _case(db: Database, server: Server, file: Path, events: int, rate: float, kills: int,
                lost: int) -> dict[str, Number]:
    made = services(address(db), server.url)
    try:
        meter = (await provision.apply(made)).meter_id
        await asyncio.to_thread(add_accounts, db, [ACCOUNT], pay_per_use=True, at=now())
        if lost:
            await asyncio.to_thread(_lose_answers, server, lost)
        began = time.perf_counter()
        told = await asyncio.to_thread(_track, db, server, events, rate, kills)
        took = time.perf_counter() - began
        estimates = holds.sweep(db, now() + LEASE + LATEST)
        await _deliver_the_rest(made)
        found = await _compare(db, made.polar, meter, file, told)
        return {**found, "estimated_after_a_kill": estimates, "told_per_second": len(told) / took}
    finally:
        await made.polar.close()
        made.db.close()


async def _deliver_the_rest(made: Services) -> None:
    """What is left, at once: the leases of the dead (40 s) and the pauses after lost answers are not waited for."""
    while await asyncio.to_thread(outbox.pending, made.db, CHANNEL):
        with made.db.session() as session:
            session.exec(update(OutboxMessage).values(lease_until=None, next_attempt_at=now()))
        await delivery.deliver(made)


def _lose_answers(server: Server, times: int) -> None:
    httpx.post(f"{server.url.removesuffix('/polar')}/_faults", json={
        "vendor": "polar", "kind": "lost_answer", "times": times, "path": "ingest"}).raise_for_status()


def _track(db: Database, server: Server, events: int, rate: float, kills: int) -> list[str]:
    """Have all steps used, starting again after each kill; returns the events that were told of."""
    told: list[str] = []
    deaths = [events * (number + 1) // (kills + 1) for number in range(kills)]
    while len(told) < events:
        with _tracker(db, server, len(told), events, rate) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(line.split()[1])
                if deaths and len(told) >= deaths[0]:
                    deaths.pop(0)
                    process.send_signal(signal.SIGKILL)
                    told += [line.split()[1] for line in process.stdout]  # what it said before it died
                    break
    return told


@contextmanager
def _tracker(db: Database, server: Server, first: int, until: int, rate: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.billing.tracker", address(db), server.url,
               str(first), str(until), str(rate)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
        process.wait(60)
    finally:
        process.kill()
        process.wait(10)


async def _compare(db: Database, polar: Polar, meter: str, file: Path, told: list[str]) -> dict[str, Number]:
    """What the user was told of, what the ledger has, and what Polar has and bills."""
    with db.reading() as session:
        rows = {row.id: row for row in session.exec(select(UsageEvent)).all()}
        again = session.exec(select(func.count()).select_from(OutboxMessage).where(OutboxMessage.attempts > 1)).one()
    with sqlite3.connect(file) as polars:
        received = [row[0] for row in polars.execute("SELECT external_id FROM polar_event WHERE source = 'user'")]
    billed = await polar.meter_quantity(meter, now() - timedelta(hours=1), now() + LATEST)
    charged = sum((microusd(row.charge_nanousd) for row in rows.values()), Decimal(0))
    return {
        "told": len(told), "lost": len(set(told) - (rows.keys() & set(received))),
        "doubled": len(received) - len(set(received)) + len(set(received) - rows.keys()),
        "sent_more_than_once": again,
        "billed_minus_ledger_microusd": float(billed - charged),
    }
