"""Holds placed and settled per second by many writers at once, and whether the books balance afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlmodel import func, select

from benchmarks.billing.databases import Databases, opened
from benchmarks.billing.results import Results, milliseconds
from benchmarks.billing.rows import add_accounts, one_step
from chatapp.billing import reconcile
from chatapp.db import Database, now
from chatapp.models import Balance, Hold, OutboxMessage, UsageEvent

Steps = Callable[[int], None]
"""One step, from hold to ledger, of the writer with this number."""


class BooksDoNotBalance(Exception):
    """An update was lost, or a row came twice."""


def run(databases: Databases, results: Results, *, writers: int, seconds: float) -> None:
    """Measure on different accounts and on one, with threads and as the app does it, on each database in turns."""
    for case, accounts, drive in (
        ("different accounts, threads", writers, _threads), ("one account, threads", 1, _threads),
        ("different accounts, to_thread", writers, _tasks), ("one account, to_thread", 1, _tasks),
    ):
        with opened(databases.fresh(f"writers_{case.replace(', ', '_').replace(' ', '_')}")) as made:
            for name, db in made.items():
                add_accounts(db, [f"account-{number}" for number in range(accounts)], pay_per_use=True, at=now())
                times, took = _drive(db, drive, accounts, writers, seconds)
                _demand_balance(db, len(times))
                results.add(f"hold and settle, {writers} writers, {case}", name, {
                    "steps_per_second": len(times) / took, **milliseconds(times)})


def _drive(db: Database, drive: Callable[[int, float, Steps], None], accounts: int, writers: int,
           seconds: float) -> tuple[list[float], float]:
    times: list[float] = []

    def step(writer: int) -> None:
        began = time.perf_counter()
        one_step(db, f"account-{writer % accounts}", f"turn-{writer}-{began}")
        times.append(time.perf_counter() - began)  # append is atomic: the writers share the list

    one_step(db, "account-0", "turn-warm-up")
    began = time.perf_counter()
    drive(writers, began + seconds, step)
    return times, time.perf_counter() - began


def _threads(writers: int, until: float, step: Steps) -> None:
    """A thread for each writer."""
    together = threading.Barrier(writers)

    def write(writer: int) -> None:
        together.wait()
        while time.perf_counter() < until:
            step(writer)

    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(write, writer) for writer in range(writers)]:
            done.result()


def _tasks(writers: int, until: float, step: Steps) -> None:
    """A task for each writer, whose statements run in the event loop's threads, as the app's turns do."""
    async def write(writer: int) -> None:
        while time.perf_counter() < until:
            await asyncio.to_thread(step, writer)

    async def all_writers() -> None:
        async with asyncio.TaskGroup() as group:
            for writer in range(writers):
                group.create_task(write(writer))

    asyncio.run(all_writers())


def _demand_balance(db: Database, steps: int) -> None:
    """Every step is in the ledger and in the outbox once, in the totals to the nano-dollar, and nothing is held."""
    differences = reconcile.local_differences(db, now())
    with db.reading() as session:
        rows, charged, cost = session.exec(select(
            func.count(), func.sum(UsageEvent.charge_nanousd), func.sum(UsageEvent.cost_nanousd)
        ).select_from(UsageEvent)).one()
        messages = session.exec(select(func.count()).select_from(OutboxMessage)).one()
        holds = session.exec(select(func.count()).select_from(Hold)).one()
        totals = session.exec(select(func.sum(Balance.charged_nanousd), func.sum(Balance.cost_nanousd),
                                     func.sum(Balance.held_nanousd))).one()
    expected = (steps + 1, steps + 1, 0, (charged, cost, 0))  # one more: the step that warmed up
    found = (rows, messages, holds, tuple(map(int, totals)))
    if differences or found != expected:
        raise BooksDoNotBalance(f"{differences} {found} instead of {expected}")
