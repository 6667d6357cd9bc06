"""Running code in Monty: a Python interpreter without files, network or processes, in worker processes of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pydantic_monty

from chatapp.clients.chart_calls import INSTRUCTIONS, ChartCalls
from chatapp.clients.code import OUTPUT_LIMIT_BYTES, CodeResult, clip
from chatapp.clients.errors import Unavailable
from chatapp.text import storable

MEMORY_BYTES = 64 * 1024 * 1024
RECURSION_DEPTH = 200
HOST_CALLS = 100
"""How often one program may call back into this process: `chart` and the look-up of unknown names."""


class Monty:
    """A `CodeRunner` that needs no key and costs nothing: every run is a fresh interpreter, no state is kept.

    A program is stopped by Monty at its limits of time, memory and depth. Should that fail, its worker process is
    killed a second later. The runs wait in threads of their own, so that a busy loop stalls neither the event loop
    nor the threads that other work uses. (The library's asyncio pool is not used: with it, about one Python process
    in five aborts at its exit.)
    """

    name = "monty"
    instructions = (
        "Python 3 in a small sandbox: the language and math, json, re, datetime, decimal, collections, itertools, "
        "functools, random and csv. No numpy, pandas, matplotlib or statistics, no files, no network, no input. "
        "Print what you want to read. Nothing is kept between calls. " + INSTRUCTIONS
    )

    def __init__(self, *, processes: int = 2) -> None:
        """Nothing starts before the first run.

        Args:
            processes: how many programs may run at the same time; others wait for their turn.
        """
        self._processes = processes
        self._pool: pydantic_monty.Monty | None = None
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="monty")
        self._lock = threading.Lock()

    async def run(self, code: str, *, thread_id: str, timeout_seconds: float) -> CodeResult:
        """See `CodeRunner.run`. If the caller is cancelled, the program is killed."""
        run = _Run(code, timeout_seconds)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run.execute, self._workers)
        except asyncio.CancelledError:
            run.kill()
            raise

    def max_cost_usd(self, timeout_seconds: float) -> Decimal:
        """Zero: it is our own processor."""
        return Decimal(0)

    async def close(self) -> None:
        """Wait for the programs that still run (they are limited in time), then end the workers."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        with self._lock:
            if self._pool is not None:
                self._pool.__exit__(None, None, None)
                self._pool = None

    def _workers(self) -> pydantic_monty.Monty:
        """The pool of worker processes, started on first use.

        Raises:
            Unavailable: the worker program is missing or cannot be started.
        """
        with self._lock:
            if self._pool is None:
                pool = pydantic_monty.Monty(max_processes=self._processes)
                try:
                    pool.__enter__()
                except (OSError, RuntimeError, pydantic_monty.MontyError) as error:
                    raise Unavailable(f"The code sandbox cannot be started: {error}") from error
                self._pool = pool
            return self._pool


class _Run:
    """One program: its limits, what it printed and drew, and a way to kill it from another thread."""

    def __init__(self, code: str, timeout_seconds: float) -> None:
        self._code = code
        self._calls = ChartCalls()
        self._output = _Output()
        self._killed = False
        self._worker_pid: int | None = None
        self._lock = threading.Lock()
        self._limits: pydantic_monty.ResourceLimits = {
            "max_feed_duration_secs": timeout_seconds,
            "max_memory": MEMORY_BYTES,
            "max_recursion_depth": RECURSION_DEPTH,
            "max_suspensions": HOST_CALLS,
        }

    def execute(self, pool: Callable[[], pydantic_monty.Monty]) -> CodeResult:
        """Run the program in this thread."""
        workers = pool()
        started = time.monotonic()
        try:
            with workers.checkout(limits=self._limits, os_policy={"sleep": "zero"}) as session:
                error = self._supervise(session)
        except pydantic_monty.MontyCrashedError as crash:  # only its start can end here: _feed answers for the rest
            raise Unavailable(f"The code sandbox cannot be started: {crash}") from crash
        return CodeResult(
            stdout=clip(storable(self._output.text)),
            error=None if error is None else storable(error),
            figures=tuple(self._calls.charts),
            seconds=Decimal(str(round(time.monotonic() - started, 3))),
            cost_usd=Decimal(0),
            quantities={"runs": 1},
        )

    def kill(self) -> None:
        """End the worker process at once; `execute` then returns, and the pool starts another worker."""
        with self._lock:
            self._killed = True
            if self._worker_pid is not None:
                os.kill(self._worker_pid, signal.SIGKILL)

    def _supervise(self, session: pydantic_monty.MontySession) -> str | None:
        """Run the code so that `kill` finds the worker while, and only while, it works on it."""
        with self._lock:
            if self._killed:
                return "The program was cancelled."
            self._worker_pid = session.worker_pid
        try:
            return self._feed(session)
        finally:
            with self._lock:
                self._worker_pid = None

    def _feed(self, session: pydantic_monty.MontySession) -> str | None:
        """Run the code; None, or the reason why it did not come to its end."""
        try:
            session.feed_run(
                self._code, external_lookup={"chart": self._calls.chart}, print_callback=self._output.append
            )
        except _TooMuchOutput:
            return f"The program was stopped: it printed more than {OUTPUT_LIMIT_BYTES} bytes. Print less."
        except (pydantic_monty.MontyRuntimeError, pydantic_monty.MontySyntaxError) as error:
            if isinstance(error.exception(), _TooMuchOutput) or self._output.full:
                return f"The program was stopped: it printed more than {OUTPUT_LIMIT_BYTES} bytes. Print less."
            return clip(error.display(), 4_000)
        except (pydantic_monty.MontyCrashedError, pydantic_monty.MontyConversionError) as error:
            return f"The program was stopped: {error}"
        return None


class _TooMuchOutput(Exception):
    """Raised out of the print callback to end a program that floods its output."""


class _Output:
    """Printed text up to a little more than the limit, so that `clip` can tell that something is missing."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._bytes = 0

    @property
    def text(self) -> str:
        """What was printed so far."""
        return "".join(self._parts)

    @property
    def full(self) -> bool:
        """Whether more was printed than is kept."""
        return self._bytes > OUTPUT_LIMIT_BYTES

    def append(self, stream: str, text: str) -> None:
        """Keep a piece of output; `stream` is stdout or stderr, which the model reads alike."""
        if self.full:
            raise _TooMuchOutput
        self._parts.append(text)
        self._bytes += len(text.encode())
