"""The chaos run itself, in small: a real app that is killed three times; and that it ends what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaos.run import Options, run
from tests.chaos.books import wait_until
from tests.conftest import ROOT


async def test_three_kills_leave_right_books(tmp_path: Path) -> None:
    said: list[str] = []
    verdict = await run(Options(kills=3, people=3, seed=3), tmp_path, said.append)
    assert verdict.right, verdict.table()
    assert verdict["kills"].value == 3
    assert verdict["questions acknowledged"].value > 0
    assert verdict["events recorded"].value == verdict["events at Polar"].value > 0
    assert sum("/3 " in line for line in said) == 3
    assert _processes_in(tmp_path) == []


def test_an_interrupted_run_ends_all_its_processes(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "chaos", "--kills", "50", "--people", "1"], cwd=ROOT,
                               env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: list(tmp_path.glob("chaos-*/chatapp.log")), 60, "the app's parent is there")
        time.sleep(0.1)
        assert _processes_in(tmp_path)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait(10)
    assert _processes_in(tmp_path) == []


def _processes_in(folder: Path) -> list[str]:
    """The processes that work somewhere in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve().is_relative_to(folder.resolve()):
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue  # it has ended, or is another's
    return found
