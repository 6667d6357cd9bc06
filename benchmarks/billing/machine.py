"""What the disk needs to make a small write safe: no transaction that writes can be faster."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.billing.results import Number, milliseconds

WRITES = 300
PAGE_BYTES = 8192


def disk(folder: Path) -> dict[str, Number]:
    """The times of writing 8 KiB to the end of a file, and of fdatasync, which a commit waits for."""
    times = []
    with (folder / "written").open("wb", buffering=0) as file:
        for _ in range(WRITES):
            began = time.perf_counter()
            file.write(os.urandom(PAGE_BYTES))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return milliseconds(times)
