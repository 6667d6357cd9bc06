"""An answer in the making: the numbered operations that the browser receives, and the parts that they add up to.

The same fold makes the message that is saved and, after a crash, the message that is rebuilt from stored operations;
the browser component does the same in `components/answer_stream.js`. An operation is JSON, one of

    "text"                              more text
    {"t": "part", "p": {"id", …}}       a new part, or a new version of the part with that id
    {"t": "sources", "s": [{…}]}        all sources so far
"""

from __future__ import annotations

import json
from typing import Any

from chatapp.text import storable_data

Part = dict[str, Any]
Operation = str | dict[str, Any]


def operations_of(parts: list[Part], sources: list[dict[str, Any]]) -> list[str]:
    """The fewest operations that add up to a saved answer, serialised."""
    draft = Draft()
    for part in parts:
        draft.add(part["text"] if part["type"] == "text" else {"t": "part", "p": part})
    if sources:
        draft.add({"t": "sources", "s": sources})
    return draft.operations


class Draft:
    """Parts and sources so far, and the operations that led to them; an operation's number is its place from 1."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.sources: list[dict[str, Any]] = []
        self.operations: list[str] = []

    @property
    def text(self) -> str:
        """The answer's prose, without its steps."""
        return "\n\n".join(part["text"].strip() for part in self.parts if part["type"] == "text").strip()

    def add(self, operation: Operation) -> None:
        """Apply one operation and keep it, serialised. All that is saved comes by here, so it is made storable here."""
        operation = storable_data(operation)
        self.apply(operation)
        self.operations.append(json.dumps(operation, ensure_ascii=False, separators=(",", ":")))

    def apply(self, operation: Operation) -> None:
        """Apply one operation without keeping it. An operation of unknown form raises ValueError."""
        if isinstance(operation, str):
            if not self.parts or self.parts[-1]["type"] != "text":
                self.parts.append({"type": "text", "text": ""})
            self.parts[-1]["text"] += operation
        elif operation.get("t") == "part":
            self._put(operation["p"])
        elif operation.get("t") == "sources":
            self.sources = list(operation["s"])
        else:
            raise ValueError(f"Unknown operation: {operation!r:.200}")

    def close_open_parts(self) -> None:
        """Mark steps that still run as failed: the turn is over, whatever ended it."""
        for part in self.parts:
            if part.get("status") == "running":
                part.update(status="failed", error=part.get("error") or "Not finished.")

    def _put(self, part: Part) -> None:
        for index, known in enumerate(self.parts):
            if known.get("id") == part["id"]:
                self.parts[index] = dict(part)
                return
        self.parts.append(dict(part))
