"""`python -m benchmarks billing [check|writers|delivery|waiting|crash …]`: all of them, or those that are named."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.billing import checks, crashes, deliveries, machine, waiting, writers
from benchmarks.billing.databases import Databases, databases
from benchmarks.billing.results import Results, progress, table
from chatapp.settings import load


def main(arguments: Sequence[str]) -> int:
    """Measure on SQLite and on Postgres in turns; print one line of JSON for each case, and then a table."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is also ended
    results = Results()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, \
            databases(Path(folder), tuple(options.databases)) as made:
        results.add("write 8 KiB and fdatasync", "disk", machine.disk(Path(folder)))
        for name, part in _parts(options, made, results, Path(folder)).items():
            if not options.parts or name in options.parts:
                progress(f"-- {name}")
                part()
    print(f"\n{table(results.all)}")
    return 0


def _parts(options: argparse.Namespace, made: Databases, results: Results,
           folder: Path) -> dict[str, Callable[[], None]]:
    settings = load({"LIMITS": "on"})
    return {
        "check": lambda: checks.run(made, results, sizes=options.rows, samples=options.samples, settings=settings),
        "writers": lambda: writers.run(made, results, writers=options.writers, seconds=options.seconds),
        "delivery": lambda: deliveries.run(made, results, folder=folder, events=options.events),
        "waiting": lambda: waiting.run(made, results, events=options.waiting, seconds=options.seconds),
        "crash": lambda: crashes.run(made, results, folder=folder, events=options.tracked, rate=options.rate,
                                     kills=options.kills, lost_answers=options.lost),
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks billing", description=main.__doc__)
    add = parser.add_argument
    add("parts", nargs="*", help="check, writers, delivery, waiting, crash (default: all)")
    add("--databases", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    add("--rows", nargs="+", type=int, default=[1_000, 100_000, 1_000_000], help="sizes of the ledger, ascending")
    add("--samples", type=int, default=1000, help="how often each check is timed (default: 1000)")
    add("--writers", type=int, default=50, help="that hold and settle at once (default: 50)")
    add("--seconds", type=float, default=5, help="how long they do, and the waiting are delivered (default: 5)")
    add("--events", type=int, default=20_000, help="to deliver in each case (default: 20,000)")
    add("--waiting", type=int, default=100_000, help="events that wait (default: 100,000; the aim is for 1,000,000)")
    add("--tracked", type=int, default=700, help="events tracked while the process is killed (default: 700)")
    add("--rate", type=float, default=50, help="at so many per second (default: 50)")
    add("--kills", type=int, default=3, help="how often it is killed meanwhile (default: 3)")
    add("--lost", type=int, default=10, help="answers of Polar that are lost in the other run (default: 10)")
    options = parser.parse_args(arguments)
    known = {"check", "writers", "delivery", "waiting", "crash"}
    if unknown := set(options.parts) - known:
        parser.error(f"There is no part {', '.join(sorted(unknown))}.")
    return options
