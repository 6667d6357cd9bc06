"""Running the model's Python code: what every sandbox offers, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias

ChartKind: TypeAlias = Literal["line", "bar", "scatter", "pie", "area"]

OUTPUT_LIMIT_BYTES = 20_000
"""How much of a program's output the model gets to read."""


@dataclass(frozen=True)
class Picture:
    """A finished image, as matplotlib draws it.

    Attributes:
        mime: always `image/png` so far.
        data: the file's bytes.
        title: the chart's title, for a caption and as alternative text; may be empty.
    """

    mime: str
    data: bytes
    title: str = ""


@dataclass(frozen=True)
class Series:
    """One line, one set of bars or one cloud of points: a name and as many values as the chart has x values."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """A chart as data, for the page to draw.

    Attributes:
        kind: how to draw it.
        title: may be empty.
        x: the values or labels along the x axis; for a pie, the names of its slices.
        series: at least one; a pie has exactly one.
        x_title: with the unit; may be empty.
        y_title: with the unit; may be empty.
    """

    kind: ChartKind
    title: str
    x: tuple[str | float, ...]
    series: tuple[Series, ...]
    x_title: str = ""
    y_title: str = ""


Figure: TypeAlias = Picture | Chart


@dataclass(frozen=True)
class CodeResult:
    """What one run of a program gave.

    Attributes:
        stdout: what it printed, cut at OUTPUT_LIMIT_BYTES with a note.
        error: None if it ran to its end; else a traceback or the reason why it was stopped, for the model to read.
        figures: what it drew, in order.
        seconds: the time that is billed, from the start of the sandbox's work on it.
        cost_usd: what the vendor charges for these seconds.
        quantities: what that cost is made of, in the units of the sandbox's list prices (`billing.rates`); empty where
            it has none.
    """

    stdout: str
    error: str | None
    figures: tuple[Figure, ...]
    seconds: Decimal
    cost_usd: Decimal
    quantities: Mapping[str, int] = field(default_factory=dict)


class CodeRunner(Protocol):
    """A sandbox for Python code that nobody has read."""

    @property
    def name(self) -> str:
        """Which sandbox this is, for usage records: `daytona` or `monty`."""

    @property
    def instructions(self) -> str:
        """What the model must know: which libraries exist and how a figure is made. Part of the tool's description."""

    async def run(self, code: str, *, thread_id: str, timeout_seconds: float) -> CodeResult:
        """Run a program for the chat thread and wait for its end.

        A program that fails, or is stopped at the timeout, is a result with an `error`, and is billed.

        Raises:
            Unavailable: the sandbox cannot be had now, or its answer was lost (`may_have_run`).
            Rejected: the vendor refuses us: the key, the credit, or the request.
        """

    def max_cost_usd(self, timeout_seconds: float) -> Decimal:
        """The most that `run` with this timeout can cost, for a hold."""

    async def close(self) -> None:
        """Release connections and processes. The runner cannot be used afterwards."""


def clip(text: str, limit_bytes: int = OUTPUT_LIMIT_BYTES) -> str:
    """Cut a text at a number of UTF-8 bytes and say so at its end; a shorter one comes back unchanged."""
    data = text.encode()
    if len(data) <= limit_bytes:
        return text
    return f"{data[:limit_bytes].decode(errors='ignore')}\n… (output cut at {limit_bytes} bytes)"
