"""The other processes of a measurement: the emulated Polar, the sink, and workers that deliver."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.db import Database
from tests.conftest import ROOT, free_port, wait_until_healthy


@dataclass(frozen=True)
class Server:
    """What stands for Polar: where it is, and its process."""

    url: str
    pid: int


@contextmanager
def emulator(folder: Path) -> Iterator[Server]:
    """The emulators as `make emulators` serves them, with an empty memory in `folder`."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {**os.environ, "EMULATORS_URL": url, "EMULATORS_DATABASE": str(emulator_file(folder))}
    with _process([sys.executable, "-m", "emulators"], environment) as process:
        wait_until_healthy(f"{url}/health", process)
        yield Server(f"{url}/polar", process.pid)


def emulator_file(folder: Path) -> Path:
    """Where an emulator in that folder keeps what it has received."""
    return folder / "emulators.db"


@contextmanager
def sink() -> Iterator[Server]:
    """The sink, see `benchmarks.billing.sink`."""
    port = free_port()
    with _process([sys.executable, "-m", "benchmarks.billing.sink", str(port)], dict(os.environ)) as process:
        wait_until_healthy(f"http://127.0.0.1:{port}/", process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)


class Worker:
    """A process with the app's clients that does one thing at each command, see `benchmarks.billing.worker`."""

    def __init__(self, db: Database, polar_url: str) -> None:
        command = [sys.executable, "-m", "benchmarks.billing.worker", address(db), polar_url]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> Worker:
        self.answer()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)

    def ask(self, command: str, **arguments: object) -> None:
        """Have it begin; `answer` waits for the end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()

    def answered(self, seconds: float) -> bool:
        """Whether it has ended what it was asked for, waiting so long at most."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def answer(self) -> dict[str, Any]:
        """What it measured. Raises RuntimeError if the process ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A worker ended with {self._process.wait(10)}.")
        found: dict[str, Any] = json.loads(line)
        return found


def address(db: Database) -> str:
    """The database's address, as another process opens it."""
    return db.engine.url.render_as_string(hide_password=False)


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
