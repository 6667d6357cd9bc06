"""A disk that can be full: where the app keeps its data.

Where this process may mount, it is a tmpfs of the app's own: shrunk to what is on it, every file that would grow gets
the real ENOSPC, and nothing else on the machine notices. Elsewhere the app's processes get RLIMIT_FSIZE 0 from beside,
which needs no right: every write to a file then fails with EFBIG, the log's too.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

SIZE = "2g"
"""An upper limit; memory is taken for what is written alone."""


class Disk:
    """The folder for the app's data, and whether it is full.

    Attributes:
        folder: exists as long as the disk is open.
        kind: how it is filled, in words.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mounted = _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder))
        self.kind = "a tmpfs without room (ENOSPC)" if self._mounted else "RLIMIT_FSIZE 0 (EFBIG)"
        self._limited: list[int] = []

    def fill(self, pids: list[int]) -> bool:
        """Let nothing grow any more. Returns False if the processes `pids` are gone, where it hangs on them."""
        if self._mounted:
            # Rounded up to a page: something written between the two calls makes the new size too small, which fails.
            for _ in range(20):
                found = os.statvfs(self.folder)
                used = (found.f_blocks - found.f_bfree) * found.f_frsize
                if _mount("-o", f"remount,size={used}", str(self.folder)):
                    return True
            raise RuntimeError("The disk could not be filled: it grows all the time.")
        for pid in pids:
            if _limit(pid, full=True):
                self._limited.append(pid)
        return bool(self._limited)

    def free(self) -> None:
        """Give room again."""
        if self._mounted:
            if not _mount("-o", f"remount,size={SIZE}", str(self.folder)):
                raise RuntimeError("The disk could not be freed.")
            return
        for pid in self._limited:
            _limit(pid, full=False)
        self._limited.clear()

    def close(self) -> None:
        """Throw the disk away; its files are copied beside it first. Nobody may use it any more."""
        if self._mounted:
            shutil.copytree(self.folder, self.folder.with_name("from-disk"), dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)  # noqa: S603, S607 - a program of the system
            self._mounted = False


def _mount(*arguments: str) -> bool:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _limit(pid: int, *, full: bool) -> bool:
    """Set how large a file of that process may be: 0 bytes, or whatever it was allowed. False if it is gone."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))
    except ProcessLookupError:
        return False
    return True
