"""Numbers for what is found: given here and never by the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from chatapp.agent.events import Source


class Sources:
    """The sources of one turn, numbered from 1 in the order in which they were found."""

    def __init__(self) -> None:
        self._by_place: dict[str, Source] = {}

    def number(self, found: Iterable[Source]) -> tuple[Source, ...]:
        """Give the sources their numbers; an address that was found before keeps its number. Doubles are dropped."""
        numbered: dict[str, Source] = {}
        for source in found:
            known = self._by_place.setdefault(place(source), replace(source, number=len(self._by_place) + 1))
            numbered.setdefault(place(source), replace(source, number=known.number))
        return tuple(numbered.values())


def place(source: Source) -> str:
    """What makes two findings the same source: the address, or the title where a paid collection has none."""
    return source.url or source.title
