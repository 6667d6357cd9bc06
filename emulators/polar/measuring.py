"""What a meter counts: its filter on events and its aggregation, as pure functions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from emulators.polar.context import moment
from emulators.polar.tables import Document

COLUMNS = ("name", "source", "customer_id", "external_customer_id", "external_id")


class Sample:
    """One event as a meter sees it."""

    def __init__(self, row: sqlite3.Row) -> None:
        self.row, self.metadata = row, json.loads(row["metadata"])
        self.timestamp: datetime = moment(row["timestamp"])

    def value(self, path: str) -> object:
        """A property: a column of the event, or a path with dots into its metadata; None if absent."""
        if path in COLUMNS:
            return self.row[path]
        if path == "timestamp":
            return self.timestamp.timestamp()
        found: Any = self.metadata
        for key in path.removeprefix("metadata.").split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found


def measured(meter: Document, rows: Iterable[sqlite3.Row]) -> list[Sample]:
    """Those of the events that the meter's filter lets through. Events of the service itself never are."""
    samples = (Sample(row) for row in rows if row["source"] == "user")
    return [sample for sample in samples if passes(meter["filter"], sample)]


def only_name(rule: Document) -> str | None:
    """The one event name that the filter can let through, or None: what a database can choose by beforehand."""
    if rule["conjunction"] != "and":
        return None
    names = [clause["value"] for clause in rule["clauses"]
             if clause.get("property") == "name" and clause["operator"] == "eq"]
    return str(names[0]) if names else None


def passes(rule: Document, sample: Sample) -> bool:
    """Whether an event fulfils a clause, or a filter of clauses and further filters. An empty filter lets all pass."""
    if "clauses" not in rule:
        return _compare(rule["operator"], sample.value(rule["property"]), rule["value"])
    results = [passes(clause, sample) for clause in rule["clauses"]]
    return not results or (all(results) if rule["conjunction"] == "and" else any(results))


def _compare(operator: str, actual: object, wanted: str | int | bool) -> bool:
    """Compare as the type of `wanted` says; an absent or incomparable property fulfils nothing, not even `ne`."""
    if actual is None:
        return False
    if operator in {"like", "not_like"}:
        return (str(wanted) in str(actual)) == (operator == "like")
    left: Any
    if isinstance(wanted, bool):
        left = actual if isinstance(actual, bool) else None
    elif isinstance(wanted, (int, float)):
        left = number(actual)
    else:
        left = None if isinstance(actual, (dict, bool)) else str(actual)
    if left is None:
        return False
    answers = {"eq": left == wanted, "ne": left != wanted}
    if operator in answers:
        return bool(answers[operator])
    return bool({"gt": left > wanted, "gte": left >= wanted, "lt": left < wanted, "lte": left <= wanted}[operator])


def number(value: object) -> float | int | None:
    """A number, or None: neither texts nor booleans are numbers for a meter."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def aggregate(aggregation: Document, samples: Iterable[Sample]) -> float:
    """Count, sum, max, min, average or number of different values; 0.0 of nothing. In floating point, as there."""
    function = aggregation["func"]
    if function == "count":
        return float(sum(1 for _ in samples))
    path = aggregation["property"]
    values = [sample.value(path) for sample in samples]
    if function == "unique":
        return float(len({json.dumps(value, sort_keys=True) for value in values if value is not None}))
    if path == "_cost.amount":
        values = [float(value) for value in values if isinstance(value, (str, float, int))]  # kept as a decimal text
    numbers = [float(value) for value in map(number, values) if value is not None]
    if not numbers:
        return 0.0
    if function == "avg":
        return sum(numbers) / len(numbers)
    if function == "sum":
        return sum(numbers)
    return max(numbers) if function == "max" else min(numbers)
