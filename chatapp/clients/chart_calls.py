"""The function `chart(…)` that sandboxed code calls: strict checks, whose messages the model reads and acts on."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import get_args

from chatapp.clients.code import Chart, ChartKind, Series

MAX_CHARTS = 8
MAX_SERIES = 12
MAX_POINTS = 2_000
MAX_TEXT = 200

INSTRUCTIONS = (
    "To make a figure call the built-in function chart(kind, x, y, title='', x_title='', y_title=''): "
    f"kind is one of {', '.join(repr(kind) for kind in get_args(ChartKind))}; x is a list of numbers or labels; "
    "y is a list of as many numbers, or a dict of series name to such a list (a pie takes one list). "
    f"At most {MAX_SERIES} series of {MAX_POINTS} points, {MAX_CHARTS} charts. Name the units in the axis titles."
)


class ChartCalls:
    """Collects the charts of one run. `chart` is what the sandbox is given."""

    def __init__(self) -> None:
        self.charts: list[Chart] = []

    def chart(
        self,
        kind: object,
        x: object,
        y: object,
        title: object = "",
        x_title: object = "",
        y_title: object = "",
    ) -> None:
        """Check one call and keep its chart.

        Raises:
            ValueError: an argument has a wrong value; the text says which and what is allowed.
            TypeError: an argument has a wrong type.
        """
        if len(self.charts) >= MAX_CHARTS:
            raise ValueError(f"at most {MAX_CHARTS} charts per run")
        checked_kind = _kind(kind)
        labels = tuple(_label(value, at) for at, value in enumerate(_list(x, "x")))
        if not labels:
            raise ValueError("x is empty: there is nothing to draw")
        series = tuple(_series(name, values, len(labels)) for name, values in _named(y))
        if checked_kind == "pie":
            _check_pie(series)
        self.charts.append(
            Chart(
                kind=checked_kind,
                title=_text(title, "title"),
                x=labels,
                series=series,
                x_title=_text(x_title, "x_title"),
                y_title=_text(y_title, "y_title"),
            )
        )


def _kind(value: object) -> ChartKind:
    for kind in get_args(ChartKind):
        if value == kind:
            return kind  # type: ignore[no-any-return]  # get_args is untyped; these are the literal's own values
    raise ValueError(f"kind must be one of {', '.join(get_args(ChartKind))}, not {str(value)[:40]!r}")


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{what} must be a list, not {type(value).__name__}")
    if len(value) > MAX_POINTS:
        raise ValueError(f"{what} has {len(value)} points; at most {MAX_POINTS} are allowed: thin them out")
    return list(value)


def _named(y: object) -> list[tuple[str, object]]:
    if not isinstance(y, dict):
        return [("", y)]
    if not 1 <= len(y) <= MAX_SERIES:
        raise ValueError(f"y has {len(y)} series; 1 to {MAX_SERIES} are allowed")
    return [(_text(name, "a series' name"), values) for name, values in y.items()]


def _series(name: str, values: object, length: int) -> Series:
    what = f"y[{name!r}]" if name else "y"
    numbers = tuple(_number(value, f"{what}[{at}]") for at, value in enumerate(_list(values, what)))
    if len(numbers) != length:
        raise ValueError(f"{what} has {len(numbers)} values but x has {length}")
    return Series(name, numbers)


def _check_pie(series: tuple[Series, ...]) -> None:
    if len(series) != 1:
        raise ValueError("a pie takes one list of numbers")
    if min(series[0].values) < 0 or sum(series[0].values) <= 0:
        raise ValueError("a pie's numbers must not be negative, and not all zero")


def _label(value: object, at: int) -> str | float:
    if isinstance(value, str):
        return _text(value, f"x[{at}]")
    if isinstance(value, date):  # datetime is a date, too
        return value.isoformat()
    return _number(value, f"x[{at}]")


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{what} is too large to draw") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}, which cannot be drawn")
    return number


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {type(value).__name__}")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{what} is longer than {MAX_TEXT} characters")
    return value
