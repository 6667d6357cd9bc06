"""Running a sandbox's code in Monty, with a small matplotlib and a limit on time and memory.

It is no Linux machine: there is neither numpy nor a shell. Each run is a new interpreter in a process of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pydantic_monty

from emulators.daytona.pyplot import Pyplot

_MEMORY_BYTES = 128 * 1024 * 1024
_LONGEST_SECONDS = 60.0


class TimedOut(Exception):
    """The program did not end within its time."""


@dataclass(frozen=True)
class Run:
    """What a program printed (with the traceback, if it failed), its exit code, its charts and its time."""

    exit_code: int
    result: str
    charts: list[dict[str, Any]]
    seconds: float


def execute(code: str, timeout_seconds: float | None) -> Run:
    """Run a program to its end, in this thread.

    Raises:
        TimedOut: it ran longer than `timeout_seconds`.
    """
    pyplot, output, exit_code, started = Pyplot(), pydantic_monty.CollectString(), 0, time.monotonic()
    limit = min(timeout_seconds or _LONGEST_SECONDS, _LONGEST_SECONDS)
    limits: pydantic_monty.ResourceLimits = {
        "max_feed_duration_secs": limit, "max_total_sleep_secs": limit, "max_memory": _MEMORY_BYTES,
    }
    failure = ""
    with pydantic_monty.Monty(max_processes=1) as pool:
        try:
            with pool.checkout(limits=limits, external_modules=pyplot.modules()) as session:
                session.feed_run(code, print_callback=output)
        except (pydantic_monty.MontyRuntimeError, pydantic_monty.MontySyntaxError) as error:
            text = error.display()
            if text.startswith("TimeoutError") or "sleep limit exceeded" in text:
                raise TimedOut from error
            failure, exit_code = f"{text}\n", 1
        except pydantic_monty.MontyCrashedError as error:
            failure, exit_code = f"Killed: {error}\n", 137
    return Run(exit_code, output.output + failure, pyplot.charts, time.monotonic() - started)
