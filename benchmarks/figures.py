"""The figures of one answer, and how they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figures:
    """One answer, read in one page.

    Attributes:
        subject: `app` or `plain`.
        raw_bytes: of the answer's text in UTF-8.
        wire_bytes: TCP payload from server to browser, from the question to the end of the answer.
        wire_ratio: wire_bytes / raw_bytes.
        delay_ms_p50: from the model's handing a chunk to its connection until its text is in the page's DOM.
        delay_ms_p95: the same, of the slowest twentieth.
        marks: how many words that was measured with.
        server_cpu_seconds: user and system, of the server's whole process tree, without the emulated model.
        page_cpu_seconds: of the page's main thread.
        seconds: from the question to the end of the answer.
        load_average: of the machine, over the last minute, when the answer ended.
    """

    subject: str
    tokens: int
    tokens_per_second: float
    raw_bytes: int
    wire_bytes: int
    wire_ratio: float
    delay_ms_p50: float
    delay_ms_p95: float
    marks: int
    server_cpu_seconds: float
    page_cpu_seconds: float
    seconds: float
    load_average: float

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that a `share` (0 to 1) of all values does not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("There are no values to take a percentile of.")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


_ROWS = (
    ("bytes on the wire / bytes of text", "wire_ratio", "{:.2f}"),
    ("delay model → page, p50 (ms)", "delay_ms_p50", "{:.0f}"),
    ("delay model → page, p95 (ms)", "delay_ms_p95", "{:.0f}"),
    ("server CPU (s)", "server_cpu_seconds", "{:.2f}"),
    ("page's main thread CPU (s)", "page_cpu_seconds", "{:.2f}"),
    ("duration (s)", "seconds", "{:.1f}"),
    ("load average", "load_average", "{:.2f}"),
)


def table(all_figures: Sequence[Figures]) -> str:
    """The figures side by side, one column for each answer."""
    first = all_figures[0]
    lines = [f"{first.tokens} tokens ({first.raw_bytes} bytes) at {first.tokens_per_second:g} tokens/s", ""]
    lines.append(f"{'':36}" + "".join(f"{figures.subject:>10}" for figures in all_figures))
    for title, name, form in _ROWS:
        lines.append(f"{title:36}" + "".join(f"{form.format(getattr(figures, name)):>10}" for figures in all_figures))
    return "\n".join(lines)
