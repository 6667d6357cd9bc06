"""Answers being written by this process: they outlive the tab, and any number of readers attach at any number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from chatapp.chat.draft import Draft, Operation

FLUSH_SECONDS = 0.125
"""Text is sent at most eight times a second: at 50 tokens/s this keeps the framing below the text itself."""


class LiveAnswer:
    """One answer in the making. Written by one task, read by any number of followers."""

    def __init__(self) -> None:
        self.draft = Draft()
        self.ending: str = ""
        self.stop_requested = False
        self.task: asyncio.Task[None] | None = None
        self._pending: list[str] = []
        self._flush: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    def say(self, text: str) -> None:
        """Add text. The first is passed on at once, later text every `FLUSH_SECONDS`."""
        self._pending.append(text)
        if self._flush is None:
            delay = FLUSH_SECONDS if self.draft.operations else 0
            self._flush = asyncio.get_running_loop().call_later(delay, self.flush)

    def show(self, operation: Operation) -> None:
        """Add a part or the sources, after the text that came before."""
        self.flush()
        self.draft.add(operation)
        self._wake()

    def flush(self) -> None:
        """Pass on the text that waits."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._pending:
            text = "".join(self._pending)
            self._pending.clear()
            self.draft.add(text)
            self._wake()

    def end(self, ending: dict[str, Any]) -> None:
        """Tell all readers that the answer is saved."""
        self.flush()
        self.ending = json.dumps({"t": "done", **ending}, ensure_ascii=False, separators=(",", ":"))
        self._wake()

    async def follow(self, after: int) -> AsyncIterator[tuple[int, str]]:
        """Yield (number, JSON) of every operation above `after`, and at last the ending."""
        operations = self.draft.operations
        number = max(0, after)
        while True:
            changed = self._changed
            while number < len(operations):
                number += 1
                yield number, operations[number - 1]
            if self.ending:
                yield number + 1, self.ending
                return
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
