"""Groups of processes, as the kernel sees them: who is in one, whether any of them lives, and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

GONE_SECONDS = 10.0


def members(group: int) -> list[int]:
    """The processes of a group that live: a killed one that nobody has waited for does not count."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            state, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(own) == group and state not in "ZX":
                found.append(int(folder.name))
    return found


def send(group: int, number: signal.Signals) -> None:
    """A signal to all of a group."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(group, number)


async def gone(group: int, seconds: float = GONE_SECONDS) -> bool:
    """Wait until none of a group lives; False if that takes longer."""
    deadline = time.monotonic() + seconds
    while members(group):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
