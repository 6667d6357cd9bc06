"""The app as a process, as `make run` starts it, with emulators of its own: started, killed, started again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import ROOT, free_port, wait_until_healthy

START_SECONDS = 300
"""The first start installs the front end's packages and builds the pages."""
HOUSE = ROOT / ".test-app" / os.environ.get("PYTEST_XDIST_WORKER", os.environ.get("TEST_HOUSE", "main"))
"""Where the app under test lives: a copy of the source, so that its build disturbs neither a running app nor another
test worker. The build stays there from run to run."""
SOURCE = ("chatapp", "emulators", "alembic", "assets", "reflex.lock")
NODE_MODULES = HOUSE / ".web" / "node_modules"


class RunningApp:
    """One installation: its folder holds both databases and the log.

    Attributes:
        environment: what both processes are started with; changes count from the next start on.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.url = f"http://localhost:{free_port()}"
        self.emulators_url = f"http://localhost:{free_port()}"
        self.database = folder / "app.db"
        self.environment = {
            **os.environ, "PUBLIC_URL": self.url, "API_URL": "", "EMULATORS_URL": self.emulators_url,
            "DATABASE_URL": f"sqlite:///{self.database}", "EMULATORS_DATABASE": str(folder / "emulators.db"),
            "REFLEX_STATES_WORKDIR": str(folder / "states"), "LIMITS": "on",
            "EMULATED_TOKENS_PER_SECOND": "200", "APP_MODE": "development", **environment,
        }
        self._app: subprocess.Popen[bytes] | None = None
        self._emulators: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that the app has printed."""
        return (self.folder / "app.log").read_text()

    @property
    def pid(self) -> int:
        """The root of the app's process tree."""
        assert self._app is not None
        return self._app.pid

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        if self._app is None and self._emulators is None:
            _furnish()
        if self._emulators is None:
            self._emulators = self._spawn("emulators", "emulators")
            wait_until_healthy(f"{self.emulators_url}/health", self._emulators)
        if self._app is not None:
            return
        self._app = self._spawn("chatapp", "app")
        try:
            wait_until_healthy(f"{self.url}/api/health", self._app, START_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(f"The app did not start:\n{self.log[-4000:]}") from error

    def kill(self) -> None:
        """`kill -9` of the app and all its workers; the emulators live on."""
        assert self._app is not None
        _kill(self._app)
        self._app = None

    def kill_emulators(self) -> None:
        """`kill -9` of the emulators: every vendor is gone; the app lives on."""
        assert self._emulators is not None
        _kill(self._emulators)
        self._emulators = None

    def stop(self) -> None:
        """End everything in good order."""
        for process in (self._app, self._emulators):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    _kill(process)
        self._app = self._emulators = None

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the app's database, read from beside it."""
        return _rows(self.database, sql, values)

    def query_emulators(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the emulators' database: what a vendor knows, even where its API does not tell."""
        return _rows(self.folder / "emulators.db", sql, values)

    def emulator(self, method: str, path: str, **options: Any) -> Any:
        """An answer of the emulators in JSON."""
        response = httpx.request(method, f"{self.emulators_url}{path}", timeout=30, **options)
        response.raise_for_status()
        return response.json() if response.content else None

    def _spawn(self, module: str, name: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", module], cwd=HOUSE, env=self.environment, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True)


def _furnish() -> None:
    """Bring the copy of the source up to date."""
    HOUSE.mkdir(parents=True, exist_ok=True)
    for name in SOURCE:
        shutil.rmtree(HOUSE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, HOUSE / name, ignore=shutil.ignore_patterns("__pycache__", "external"))
    shutil.copy(ROOT / "rxconfig.py", HOUSE)


def _rows(file: Path, sql: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, values)]


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
