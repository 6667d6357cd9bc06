"""One installation to be killed: a copy of the source, a folder for its data, the emulators' process and the app's."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from chaos import processes
from chaos.database import AppDatabase, Postgres, Row, Sqlite, sqlite_rows
from chaos.disk import Disk
from chaos.plan import Fault

ROOT = Path(__file__).parent.parent
SOURCE = ("chatapp", "emulators", "chaos", "alembic", "assets", "rxconfig.py")
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
IMPORT_SECONDS = 120.0
"""For several seconds of work, on a machine that is busy with other things."""
STOP_SECONDS = 20.0


class DidNotStart(Exception):
    """A process ended, or did not answer in time; the text says what it printed last."""


class House:
    """The processes and what they leave behind.

    The app is what `make run` starts, without the pages: see `served`. The source is copied first, so that edits during
    a run do not change what runs.

    Attributes:
        folder: logs, and the emulators' database.
        disk: where the app keeps its data.
        ended_by_itself: how often the app's process ended without a kill.
    """

    def __init__(self, folder: Path, *, postgres: bool = False) -> None:
        self.folder = folder
        self.url, self.emulators_url = f"http://localhost:{_free_port()}", f"http://localhost:{_free_port()}"
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.disk = Disk(folder / "disk")
        self.database: AppDatabase = Postgres(folder / "postgres") if postgres else Sqlite(self.disk.folder / "app.db")
        self.ended_by_itself = 0
        self._app = 0
        self._spawned: list[Process] = []
        self._source = folder / "source"
        _copy_source(self._source)

    @property
    def pids(self) -> list[int]:
        """The app's processes that live."""
        return processes.members(self._app) if self._app else []

    async def open(self) -> None:
        """Start the vendors, whom nothing kills, since their logs are what the books are held against; ready the app.

        Raises:
            DidNotStart: one of them ended, or took too long.
        """
        emulators = await self._spawn("emulators", "emulators")
        self._parent = await self._spawn("chatapp", "chaos.served", self.url.rsplit(":", 1)[1])
        await self._answering(f"{self.emulators_url}/health", lambda: emulators.returncode is None, IMPORT_SECONDS,
                              "emulators")
        if await self._line() != "ready":
            raise DidNotStart(f"The app cannot be imported:\n{self.log()[-3000:]}")

    async def start(self) -> None:
        """Start the app; returns as soon as its process is there."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(b"start\n")
        self._app = int(await self._line())

    async def ready(self, seconds: float) -> None:
        """Wait until the app answers. Raises DidNotStart."""
        await self._answering(f"{self.url}/api/health", lambda: bool(self.pids), seconds, "chatapp")

    async def kill(self) -> bool:
        """`kill -9` of the app and all its workers. False if it had ended by itself."""
        alive = bool(self.pids)
        self.ended_by_itself += not alive
        processes.send(self._app, signal.SIGKILL)
        if not await processes.gone(self._app):
            raise RuntimeError(f"Killed, and still there: {self.pids}")
        return alive

    async def close(self) -> None:
        """End everything in good order, and with force what does not listen."""
        self.disk.free()
        groups = [process.pid for process in reversed(self._spawned)]
        for group in ([self._app] if self._app else []) + groups:
            processes.send(group, signal.SIGTERM)
            if not await processes.gone(group, STOP_SECONDS):
                processes.send(group, signal.SIGKILL)
        for process in self._spawned:
            await process.wait()
        await self.http.aclose()
        self.database.close()
        self.disk.close()

    def log(self, name: str = "chatapp") -> str:
        """All that a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    async def emulator(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - httpx's, and JSON
        """An answer of the emulators in JSON."""
        response = await self.http.request(method, f"{self.emulators_url}{path}", **options)
        response.raise_for_status()
        return response.json() if response.content else None

    async def switch_on(self, *faults: Fault) -> None:
        """Let vendors fail."""
        for fault in faults:
            wanted = {"vendor": fault.vendor, "kind": fault.kind, "path": fault.path, "times": fault.times,
                      "seconds": fault.seconds}
            await self.emulator("POST", "/_faults", json={k: v for k, v in wanted.items() if v is not None})

    async def switch_all_off(self) -> None:
        """Let all vendors be well."""
        await self.emulator("DELETE", "/_faults")

    async def set_pace(self, tokens_per_second: float) -> None:
        """How fast the model writes."""
        await self.emulator("POST", "/llm/_emulator/pace", json={"tokens_per_second": tokens_per_second})

    def emulators_rows(self, sql: str) -> list[Row]:
        """Rows of the emulators' database: what a vendor has served and was told."""
        return sqlite_rows(self.folder / "emulators.db", sql)

    async def _spawn(self, name: str, module: str, *arguments: str) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, cwd=self._source, env=self._environment(),
                stdin=PIPE, stdout=PIPE if arguments else log, stderr=log, start_new_session=True)
        self._spawned.append(process)
        return process

    async def _line(self) -> str:
        """The next word of the process that the app is forked from; empty if it has ended."""
        assert self._parent.stdout is not None
        try:
            return (await asyncio.wait_for(self._parent.stdout.readline(), IMPORT_SECONDS)).decode().strip()
        except TimeoutError as error:
            raise DidNotStart(f"The app cannot be forked:\n{self.log()[-3000:]}") from error

    def _environment(self) -> dict[str, str]:
        """As `make run`, with addresses and data of its own; the operator's own keys stay out of it."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {
            **kept, "APP_MODE": "development", "LIMITS": "on", "TRUSTED_PROXIES": "1", "PUBLIC_URL": self.url,
            "EMULATORS_URL": self.emulators_url, "EMULATORS_DATABASE": str(self.folder / "emulators.db"),
            "EMULATED_RESEND_REQUESTS_PER_SECOND": "50", "DATABASE_URL": self.database.url,
            "DAYTONA_API_KEY": "dtn_emulated", "DAYTONA_URL": f"{self.emulators_url}/daytona/api",
            "REFLEX_STATES_WORKDIR": str(self.disk.folder / "states"), "REFLEX_WEB_WORKDIR": str(self.folder / "web"),
            "REFLEX_USE_NPM": "1", "REFLEX_TELEMETRY_ENABLED": "false",
        }

    async def _answering(self, url: str, lives: Callable[[], bool], seconds: float, name: str) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not lives():
                raise DidNotStart(f"{name} ended:\n{self.log(name)[-3000:]}")
            try:
                if (await self.http.get(url, timeout=2)).status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # not yet: asked again in a moment
            await asyncio.sleep(0.05)
        raise DidNotStart(f"{name} did not answer within {seconds:.0f} s:\n{self.log(name)[-3000:]}")


def _copy_source(target: Path) -> None:
    target.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "external"))
        else:
            shutil.copy(ROOT / name, target)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
