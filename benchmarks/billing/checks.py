"""The time of the check before a turn, with ledgers of different sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import update
from sqlmodel import col

from benchmarks.billing import plans
from benchmarks.billing.databases import Databases, opened, settle_down
from benchmarks.billing.results import Number, Results, milliseconds, progress
from benchmarks.billing.rows import BIG, BOUND, BOUND_USD, PRICES, Copier, add_accounts
from benchmarks.figures import percentile
from chatapp.billing import admission, holds
from chatapp.billing.catalog import FREE, PAY_PER_USE
from chatapp.billing.entitlements import Entitlement
from chatapp.db import Database, now
from chatapp.models import Subscription
from chatapp.settings import Settings

MOST_OWNERS = 1000
FIRST_CHECKS = 50


class ReadsAWholeTable(Exception):
    """A check grows with the number of rows: an index is missing or not used."""


def run(databases: Databases, results: Results, *, sizes: list[int], samples: int, settings: Settings) -> None:
    """Measure at each size of the ledger, on each database in turns.

    Beside the big account there are up to a thousand others: the first half pays per use, the rest is free.
    """
    owners = min(MOST_OWNERS, sizes[0])
    with opened(databases.fresh("checks")) as made:
        copiers = {}
        for name, db in made.items():
            _accounts(db, owners)
            copiers[name] = Copier(db)
        rows = 0
        for size in sizes:
            for name, db in made.items():
                progress(f"{name}: a ledger of {size:,} rows …")
                until = now()
                copiers[name].ledger(rows, size - rows, owners=owners, since=until - timedelta(days=365), until=until)
                settle_down(db)
            rows = size
            for name, db in made.items():
                _measure(db, name, results, size, owners, samples, settings)


def _accounts(db: Database, owners: int) -> None:
    names = [f"account-{number}" for number in range(owners)]
    add_accounts(db, [*names[:owners // 2], BIG], pay_per_use=True, at=now())
    add_accounts(db, names[owners // 2:], pay_per_use=False, at=now())


def _measure(db: Database, name: str, results: Results, rows: int, owners: int, samples: int,
             settings: Settings) -> None:
    size, large = f"{rows:,} rows", db.is_sqlite or rows >= plans.FEW_ROWS

    def admitted(account_id: str) -> Callable[[], object]:
        return partial(admission.admit, db, settings, account_id, now())

    questions = FREE.quotas[0].limit
    cases = {
        "admit, pay per use": [admitted(f"account-{number % (owners // 2)}") for number in range(samples)],
        "admit, pay per use, the big account": [admitted(BIG)] * samples,
        # A day's questions of each account are used up between the sizes: each size gives them back.
        "admit, free": [admitted(f"account-{owners // 2 + number % (owners // 2)}")
                        for number in range(min(samples, questions * owners // 2 - 1))],
    }
    for case, calls in cases.items():
        if large:
            with plans.recorded(db) as statements:
                calls[0]()
            _demand_indexes(db, statements, case)
        results.add(f"{case}, {size}", name, _timed(calls))
    _forget_questions(db)
    results.add(f"hold, the big account, {size}", name, _holds(db, samples, large=large))
    results.add(f"first check of a month, {size}", name, _new_months(db, settings))
    results.add(f"first check of a period with 20 days of rows, {size}", name, _moved(db, settings))


def _timed(calls: Iterable[Callable[[], object]], after: Callable[[Any], object] = lambda _: None) -> dict[str, Number]:
    """The times of the calls, and the processor's time in this process, which a busy machine does not lengthen.

    What `after` does with each result is not counted.
    """
    times, busy = [], []
    for call in calls:
        began, began_busy = time.perf_counter(), time.thread_time()
        result = call()
        times.append(time.perf_counter() - began)
        busy.append(time.thread_time() - began_busy)
        after(result)
    return {**milliseconds(times), "cpu_p50_ms": 1000 * percentile(busy, 0.5)}


def _holds(db: Database, samples: int, *, large: bool) -> dict[str, Number]:
    """The time of `holds.place`; each is released again, so that the next finds the same."""
    may = Entitlement(BIG, PAY_PER_USE, Decimal(5), limited=True)

    def place(number: int) -> holds.PlacedHold:
        return holds.place(db, may, turn_id=f"turn-{number}", thread_id="thread", kind="model",
                           provider=PRICES.provider, name=PRICES.name, prices=PRICES, bound_cost_usd=BOUND_USD,
                           quantities_bound=BOUND, now=now())

    if large:
        with plans.recorded(db) as statements:
            holds.release(db, place(0))
        _demand_indexes(db, statements, "hold")
    return _timed((partial(place, number) for number in range(samples)), lambda hold: holds.release(db, hold))


def _new_months(db: Database, settings: Settings) -> dict[str, Number]:
    """The big account's first checks in one month after the other, the ledger's rows being all older."""
    months = [datetime(now().year + 1 + number // 12, number % 12 + 1, 1, 1, tzinfo=now().tzinfo)
              for number in range(FIRST_CHECKS)]
    return _timed([partial(admission.admit, db, settings, BIG, month) for month in months])


def _moved(db: Database, settings: Settings) -> dict[str, Number]:
    """The same after Polar has moved the period's start, which lies 20 days back: what came since is summed."""
    moved = now() - timedelta(days=20)

    def calls() -> Iterator[Callable[[], object]]:
        for number in range(FIRST_CHECKS):
            _begin_period(db, moved - timedelta(seconds=number))  # the generator runs between the timed calls
            yield partial(admission.admit, db, settings, BIG, now())

    return _timed(calls())


def _begin_period(db: Database, start: datetime) -> None:
    with db.session() as session:
        session.exec(update(Subscription).where(col(Subscription.account_id) == BIG).values(
            current_period_start=start, current_period_end=start + timedelta(days=32)))


def _forget_questions(db: Database) -> None:
    with db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM quota_count")


def _demand_indexes(db: Database, statements: list[tuple[str, object]], case: str) -> None:
    if whole := plans.whole_tables_read(db, statements):
        raise ReadsAWholeTable(f"{case}: {whole}")
