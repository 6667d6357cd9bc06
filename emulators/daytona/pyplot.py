"""A small `matplotlib.pyplot` for sandboxed code: it records what is drawn, and `show` turns it into Daytona's charts.

It has the calls that simple programs use: figure, subplots (one set of axes), plot, bar, scatter, pie, title, labels,
show. Everything else is missing, as an AttributeError says; styling arguments are accepted and ignored.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import Any

import pydantic_monty

from emulators.daytona import png

_IGNORED = (
    "figure", "legend", "grid", "tight_layout", "xticks", "yticks", "xlim", "ylim", "close", "clf", "style", "set_xlim",
    "set_ylim", "set_xticks", "set_xticklabels", "tick_params", "axis", "autofmt_xdate", "savefig", "margins",
)


@dataclass
class _Figure:
    """What has been drawn since the last `show`."""

    kind: str = "line"
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    series: list[tuple[str, list[png.Point]]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    shares: list[tuple[str, float]] = field(default_factory=list)


class Pyplot:
    """One program's pyplot. Afterwards `charts` has what it showed, as Daytona answers it."""

    def __init__(self) -> None:
        self.charts: list[dict[str, Any]] = []
        self._figure = _Figure()

    def modules(self) -> dict[str, pydantic_monty.ExternalModule]:
        """The modules for a sandbox to import."""
        own = ("plot", "bar", "scatter", "pie", "title", "xlabel", "ylabel", "subplots", "show")
        calls: dict[str, Any] = {name: getattr(self, name) for name in own}
        calls |= dict.fromkeys(_IGNORED, _ignore)
        pyplot = pydantic_monty.ExternalModule(calls)
        return {"matplotlib": pydantic_monty.ExternalModule({"pyplot": pyplot, "use": _ignore})}

    def plot(self, *values: Any, label: str = "", **_: Any) -> None:  # noqa: ANN401 - whatever a program passes
        """`plot(y)`, `plot(x, y)`, with or without a format string."""
        lists = [value for value in values if isinstance(value, list | tuple)]
        if not lists:
            raise ValueError("plot needs at least one list of numbers")
        y = lists[-1]
        self._add("line", lists[0] if len(lists) > 1 else list(range(len(y))), y, label)

    def bar(self, x: Any, height: Any, *_: Any, label: str = "", **__: Any) -> None:  # noqa: ANN401
        """`bar(labels, heights)`."""
        self._add("bar", x, height, label)

    def scatter(self, x: Any, y: Any, *_: Any, label: str = "", **__: Any) -> None:  # noqa: ANN401
        """`scatter(x, y)`."""
        self._add("scatter", x, y, label)

    def pie(self, x: Any, *_: Any, labels: Any = None, **__: Any) -> None:  # noqa: ANN401
        """`pie(shares, labels=…)`."""
        names = labels or [""] * len(x)
        self._figure.kind = "pie"
        self._figure.shares = [(str(name), _number(share)) for name, share in zip(names, x, strict=True)]

    def title(self, text: str, **_: Any) -> None:  # noqa: ANN401
        """Set the title."""
        self._figure.title = str(text)

    def xlabel(self, text: str, **_: Any) -> None:  # noqa: ANN401
        """Set the title of the x axis."""
        self._figure.x_label = str(text)

    def ylabel(self, text: str, **_: Any) -> None:  # noqa: ANN401
        """Set the title of the y axis."""
        self._figure.y_label = str(text)

    def subplots(self, *_: Any, **__: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """One figure and one set of axes, whatever number is asked for."""
        allowed = ("plot", "bar", "scatter", "pie", "set_title", "set_xlabel", "set_ylabel", *_IGNORED)
        axes = pydantic_monty.ClassInstance(_Axes(self), allowed_methods=allowed)
        return pydantic_monty.ClassInstance(_Axes(self), allowed_methods=_IGNORED), axes

    def show(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Finish the figure; an empty one is dropped."""
        figure, self._figure = self._figure, _Figure()
        if figure.series or figure.shares:
            self.charts.append(_chart(figure))

    def _add(self, kind: str, x: Any, y: Any, label: str) -> None:  # noqa: ANN401
        if len(x) != len(y):
            raise ValueError(f"x and y must have same first dimension, but have shapes ({len(x)},) and ({len(y)},)")
        if any(isinstance(value, str) for value in x):
            self._figure.labels = [str(value) for value in x]
            x = range(len(x))
        self._figure.kind = kind
        points = [(_number(a), _number(b)) for a, b in zip(x, y, strict=True)]
        self._figure.series.append((str(label), points))


class _Axes:
    """What `subplots` gives: pyplot's calls under the names that axes have."""

    def __init__(self, pyplot: Pyplot) -> None:
        self.plot, self.bar, self.scatter, self.pie = pyplot.plot, pyplot.bar, pyplot.scatter, pyplot.pie
        self.set_title, self.set_xlabel, self.set_ylabel = pyplot.title, pyplot.xlabel, pyplot.ylabel
        for name in _IGNORED:
            setattr(self, name, _ignore)


def _chart(figure: _Figure) -> dict[str, Any]:
    """A figure in the shape of Daytona's answer, with its picture."""
    if figure.kind == "pie":
        whole = sum(share for _, share in figure.shares) or 1.0
        elements = [{"label": name, "angle": 360 * share / whole, "radius": 1} for name, share in figure.shares]
        picture = png.pie(figure.title, figure.shares)
    else:
        elements = [element for name, points in figure.series for element in _elements(figure, name, points)]
        picture = png.plot(figure.kind, figure.title, figure.series, figure.labels)
    return {
        "type": figure.kind, "title": figure.title, "x_label": figure.x_label, "y_label": figure.y_label,
        "png": base64.b64encode(picture).decode(), "elements": elements,
    }


def _elements(figure: _Figure, name: str, points: list[png.Point]) -> list[dict[str, Any]]:
    if figure.kind != "bar":
        return [{"label": name, "points": [list(point) for point in points]}]
    labels = figure.labels or [f"{x:g}" for x, _ in points]
    return [{"label": label, "value": f"{y:g}", "group": name} for label, (_, y) in zip(labels, points, strict=True)]


def _number(value: Any) -> float:  # noqa: ANN401
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("only finite numbers can be drawn here")
    return number


def _ignore(*_: Any, **__: Any) -> None:  # noqa: ANN401
    """Accept a call that changes only how a figure looks."""
