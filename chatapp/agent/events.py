"""What happens during a turn, in the order in which the page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from chatapp.clients.code import Figure


@dataclass(frozen=True)
class Source:
    """Something found, with the number under which the answer cites it.

    Attributes:
        number: given by the server, from 1 within a turn; the same address keeps its number.
        snippet: the beginning of what was found, as plain text.
    """

    number: int
    title: str
    url: str
    snippet: str


@dataclass(frozen=True)
class Thinking:
    """The model reasons before it writes; there is nothing to show but that."""


@dataclass(frozen=True)
class TextDelta:
    """More of the answer. Text that follows another kind of event begins a part of its own."""

    text: str


@dataclass(frozen=True)
class SearchStarted:
    """A search was sent; `id` links it to its SearchFinished."""

    id: str
    query: str


@dataclass(frozen=True)
class SearchFinished:
    """What a search found; `error` is the person's text if it failed, with no sources then."""

    id: str
    sources: tuple[Source, ...]
    error: str | None = None


@dataclass(frozen=True)
class CodeStarted:
    """A program was sent to the sandbox; `id` links it to its CodeFinished."""

    id: str
    code: str


@dataclass(frozen=True)
class CodeFinished:
    """What a program gave.

    Attributes:
        output: what it printed.
        error: a traceback, or the person's text if the program could not be run; None if it ran to its end.
        figures: what it drew.
    """

    id: str
    output: str
    error: str | None = None
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The turn came to its end; always the last event.

    Attributes:
        history_json: this turn's messages for the next turn; `history.join` puts several turns together.
        text: all of the turn's text, its parts separated by an empty line.
        shortened: the answer was cut off at the length that the model, or the money left, allows.
    """

    history_json: str
    text: str
    shortened: bool = False


Event: TypeAlias = (
    Thinking | TextDelta | SearchStarted | SearchFinished | CodeStarted | CodeFinished | Finished
)
