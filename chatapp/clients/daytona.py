"""Daytona: running code in a Linux sandbox of the vendor's, with numpy, pandas and matplotlib.

Each chat thread has one sandbox, made on first use and found again by its label, without network. Daytona stops it
after a minute without use and deletes it then; a time to live catches whatever slips through.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from decimal import Decimal

from daytona import AsyncDaytona, AsyncSandbox, CreateSandboxFromSnapshotParams, DaytonaConfig, ListSandboxesQuery
from daytona.common.process import ExecuteResponse

from chatapp.billing import rates
from chatapp.billing.pricing import cost_usd
from chatapp.billing.rates import START_UP_SECONDS, whole_seconds
from chatapp.clients.code import CodeResult, Figure, Picture, clip
from chatapp.clients.daytona_errors import is_gone, is_timeout, raise_translated
from chatapp.clients.errors import Unavailable
from chatapp.text import storable

LABEL_APP, LABEL_THREAD = "app", "thread"
AUTO_STOP_MINUTES, TIME_TO_LIVE_MINUTES = 1, 60
_SANDBOXES_KNOWN = 500
_PICTURES, _PICTURE_BYTES = 8, 2_000_000


@dataclass
class _Thread:
    """What is known of one thread's sandbox; the lock lets its programs run one after another."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sandbox: AsyncSandbox | None = None


class _Gone(Unavailable):
    """The sandbox that was known does not exist any more."""


class Daytona:
    """A `CodeRunner` on Daytona. Build and use it within one event loop.

    A run costs its seconds at the rates in `billing.rates`, plus the sandbox's start if it had to be started. The up to
    AUTO_STOP_MINUTES that a sandbox then stands idle are the platform's cost, not the run's.
    """

    name = "daytona"
    instructions = (
        "Python 3 on Linux with numpy, pandas, scipy and matplotlib; no network. Print what you want to read. To make "
        "a figure use matplotlib.pyplot with a title and axis labels with units, and call plt.show() for each figure. "
        "Variables are not kept between calls, files in the working directory are for a short while."
    )

    def __init__(
        self, *, api_url: str, key: str, timeout_seconds: float, target: str | None = None, app: str = "chatapp"
    ) -> None:
        """Nothing is sent before the first run.

        Args:
            api_url: `https://app.daytona.io/api`.
            key: the API key.
            timeout_seconds: for creating, finding and starting a sandbox.
            target: the region, or None for the account's own.
            app: the label that all of this installation's sandboxes carry.
        """
        self._config = DaytonaConfig(api_key=key, api_url=api_url, target=target)
        self._timeout, self._app = timeout_seconds, app
        self._sdk: AsyncDaytona | None = None
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    async def run(self, code: str, *, thread_id: str, timeout_seconds: float) -> CodeResult:
        """See `CodeRunner.run`. The program's own limit is a whole number of seconds, at least one."""
        thread = self._thread(thread_id)
        async with thread.lock:
            try:
                return await self._attempt(thread, thread_id, code, timeout_seconds)
            except _Gone:  # Daytona deleted it since it was last used here: once more, with a new one
                thread.sandbox = None
                return await self._attempt(thread, thread_id, code, timeout_seconds)

    def max_cost_usd(self, timeout_seconds: float) -> Decimal:
        """See `CodeRunner.max_cost_usd`."""
        return cost_usd(rates.DAYTONA, rates.most_of_a_run(self.name, timeout_seconds))

    async def forget(self, thread_id: str) -> None:
        """Delete the thread's sandbox now, for instance because the thread was deleted; nothing if it has none.

        Raises:
            Unavailable, Rejected: as for `run`; it then vanishes by itself within TIME_TO_LIVE_MINUTES.
        """
        thread = self._thread(thread_id)
        async with thread.lock:
            try:
                sandbox = thread.sandbox or await self._find(thread_id)
                if sandbox is not None:
                    await sandbox.delete(self._timeout)
            except Exception as error:
                if not is_gone(error):
                    raise_translated(error, ran=False)
            thread.sandbox = None

    async def close(self) -> None:
        """Close the connections. Sandboxes are left to stop by themselves: another process may be using them."""
        if self._sdk is not None:
            await self._sdk.close()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
            self._sdk = None
        self._threads.clear()

    async def _attempt(self, thread: _Thread, thread_id: str, code: str, timeout_seconds: float) -> CodeResult:
        """Get a sandbox and run the program in it.

        Raises:
            _Gone: the sandbox that was known is no more, and the program did not run.
            Unavailable, Rejected: as for `run`.
        """
        asked = time.monotonic()
        sandbox, was_running = await self._ensure(thread, thread_id)
        start_up = Decimal(0) if was_running else min(_seconds(time.monotonic() - asked), START_UP_SECONDS)
        began, limit = time.monotonic(), whole_seconds(timeout_seconds)
        response: ExecuteResponse | None = None
        try:
            response = await sandbox.process.code_run(code, timeout=limit)
        except Exception as error:
            if is_gone(error):
                raise _Gone(f"The sandbox of thread {thread_id} is gone") from error
            if not is_timeout(error):
                raise_translated(error, ran=True)
        seconds = start_up + _seconds(time.monotonic() - began)
        used = rates.sandbox_quantities(seconds, cpu=sandbox.cpu, memory_gib=sandbox.memory, disk_gib=sandbox.disk)
        return replace(_result(response, limit, seconds, cost_usd(rates.DAYTONA, used)), quantities=used)

    async def _ensure(self, thread: _Thread, thread_id: str) -> tuple[AsyncSandbox, bool]:
        """The thread's sandbox, running, and whether it was running already.

        Raises:
            Unavailable, Rejected: it cannot be had. The program did not run: a start that Daytona bills all the same
                is the platform's cost.
        """
        if thread.sandbox is not None:
            return thread.sandbox, True
        try:
            sandbox = await self._find(thread_id)
            was_running = sandbox is not None and sandbox.state == "started"
            if sandbox is None:
                sandbox = await self._client().create(self._wanted(thread_id), timeout=self._timeout)
            elif not was_running:
                await sandbox.start(self._timeout)
        except Exception as error:
            raise_translated(error, ran=False)
        thread.sandbox = sandbox
        return sandbox, was_running

    async def _find(self, thread_id: str) -> AsyncSandbox | None:
        """The oldest usable sandbox with the thread's labels: if two processes made one each, both choose the same."""
        query = ListSandboxesQuery(labels={LABEL_APP: self._app, LABEL_THREAD: thread_id})
        found = [box async for box in self._client().list(query, request_timeout=self._timeout)]
        usable = [box for box in found if box.state in ("started", "stopped")]
        return min(usable, key=lambda box: str(box.created_at), default=None)

    def _wanted(self, thread_id: str) -> CreateSandboxFromSnapshotParams:
        return CreateSandboxFromSnapshotParams(
            language="python",
            labels={LABEL_APP: self._app, LABEL_THREAD: thread_id},
            network_block_all=True,
            auto_stop_interval=AUTO_STOP_MINUTES,
            auto_delete_interval=0,
            ttl_minutes=TIME_TO_LIVE_MINUTES,
        )

    def _client(self) -> AsyncDaytona:
        if self._sdk is None:  # it wants a running event loop
            self._sdk = AsyncDaytona(self._config)
        return self._sdk

    def _thread(self, thread_id: str) -> _Thread:
        """What is known of the thread; the threads not used for longest are forgotten, their sandboxes are not."""
        thread = self._threads.setdefault(thread_id, _Thread())
        self._threads.move_to_end(thread_id)
        for other_id, other in list(self._threads.items())[: len(self._threads) - _SANDBOXES_KNOWN]:
            if not other.lock.locked():
                del self._threads[other_id]
        return thread


def _result(response: ExecuteResponse | None, limit: int, seconds: Decimal, cost_usd: Decimal) -> CodeResult:
    """Daytona's answer as ours; no answer means that the program was stopped at its limit."""
    if response is None:
        return CodeResult("", f"The program was stopped after {limit} seconds.", (), seconds, cost_usd)
    said = storable(response.result)
    if response.exit_code != 0:
        error = clip(said, 4_000) or f"The program ended with exit code {response.exit_code}."
        return CodeResult("", error, _pictures(response), seconds, cost_usd)
    return CodeResult(clip(said), None, _pictures(response), seconds, cost_usd)


def _pictures(response: ExecuteResponse) -> tuple[Figure, ...]:
    """The charts that have a picture of a bearable size."""
    charts = (response.artifacts.charts if response.artifacts else None) or []
    pictures: list[Figure] = []
    for chart in charts[:_PICTURES]:
        try:
            data = base64.b64decode(chart.png or "", validate=True)
        except binascii.Error:
            continue  # no picture: the program's text still tells the result
        if data.startswith(b"\x89PNG") and len(data) <= _PICTURE_BYTES:
            pictures.append(Picture("image/png", data, storable(chart.title or "")))
    return tuple(pictures)


def _seconds(duration: float) -> Decimal:
    return Decimal(str(round(duration, 3)))
