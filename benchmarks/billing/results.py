"""One measured case, and how the cases of SQLite and of Postgres are shown side by side."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.figures import percentile

Number = int | float


@dataclass(frozen=True)
class Result:
    """What one case gave on one database.

    Attributes:
        subject: the case.
        database: `sqlite` | `postgres`.
        values: figure by name; the names end in their units.
        load_average: of the machine, over the last minute, when the case ended.
    """

    subject: str
    database: str
    values: Mapping[str, Number]
    load_average: float

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


Report = Callable[[str, str, Mapping[str, Number]], None]
"""Takes a case's subject, database and figures."""


class Results:
    """Collects the cases, and prints each as a line of JSON when it is there."""

    def __init__(self) -> None:
        self.all: list[Result] = []

    def add(self, subject: str, database: str, values: Mapping[str, Number]) -> None:
        """A case is measured."""
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
        self.all.append(Result(subject, database, rounded, round(os.getloadavg()[0], 2)))
        print(self.all[-1].as_json(), flush=True)


def milliseconds(seconds: Sequence[float]) -> dict[str, Number]:
    """The median, the slowest hundredth and the worst of the times that something took."""
    return {"p50_ms": 1000 * percentile(seconds, 0.5), "p99_ms": 1000 * percentile(seconds, 0.99),
            "max_ms": 1000 * max(seconds), "samples": len(seconds)}


def table(results: Sequence[Result]) -> str:
    """One line per case and figure, one column per database, the load averages behind them."""
    databases = list(dict.fromkeys(result.database for result in results))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        values = {**result.values, "load_average": result.load_average}
        for name, value in values.items():
            cells.setdefault((result.subject, name), {})[result.database] = f"{value:,}"
    subjects = max(len(subject) for subject, _ in cells) + 2
    names = max(len(name) for _, name in cells) + 2
    lines = [f"{'':{subjects + names}}" + "".join(f"{database:>14}" for database in databases)]
    shown = ""
    for (subject, name), row in cells.items():
        lines.append(f"{subject if subject != shown else '':{subjects}}{name:{names}}"
                     + "".join(f"{row.get(database, ''):>14}" for database in databases))
        shown = subject
    return "\n".join(lines)


def progress(text: str) -> None:
    """Tell whoever watches what is being prepared; the figures alone go to standard output."""
    print(text, file=sys.stderr, flush=True)
