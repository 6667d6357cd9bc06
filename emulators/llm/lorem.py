"""Filler of an exact length, for benchmarks: varied markdown that a page has to work for.

Where it is `marked`, some words are replaced by the number of their token, such as `q0042z`: whoever reads that word
knows which token has arrived. Where it is `broken`, the connection ends after half of it.
"""

from __future__ import annotations

import re
from itertools import count as numbers
from itertools import pairwise

from emulators.llm.conversation import Conversation
from emulators.llm.tokens import split

_DIRECTIVE = re.compile(r"\blorem (\d{1,6})( marked)?( broken)?\b", re.I)
_WORD_TOKEN = re.compile(r" [a-z]{5,6}")
MARK = re.compile(r"q(\d{4})z")
_MARK_EVERY = 8
"""In tokens: at most one mark in so many."""
_MARKS_END = 10_000
"""A mark with a longer number would be two tokens."""
_WORDS: list[str] = re.findall(
    r"\w+",
    "river stone quiet amber lantern meadow copper signal harbour winter orchard paper silver thread morning valley "
    "engine garden window candle forest marble compass ribbon anchor feather mirror pepper saddle timber velvet willow",
)


def asked(conversation: Conversation) -> str | None:
    """The filler that the directive `lorem 2000` or `lorem 2000 marked` in the last user message asks for, or None."""
    match = _DIRECTIVE.search(conversation.question)
    return text(int(match[1]), marked=match[2] is not None) if match else None


def breaks(conversation: Conversation) -> bool:
    """Whether the directive asks for a stream that breaks off, as in `lorem 2000 broken`."""
    match = _DIRECTIVE.search(conversation.question)
    return match is not None and match[3] is not None


def text(tokens: int, *, marked: bool = False) -> str:
    """Markdown of exactly that many tokens: headings, paragraphs, lists, tables, code, formulas, quotes."""
    pieces: list[str] = []
    for section in numbers(1):
        if len(pieces) >= tokens:
            break
        pieces += split(_section(section))
    pieces = pieces[:tokens]
    return "".join(_marked(pieces) if marked else pieces)


def _marked(pieces: list[str]) -> list[str]:
    """The pieces with marks in the place of whole words; as many tokens as before."""
    marked, last = pieces.copy(), -_MARK_EVERY
    for at, (piece, following) in enumerate(pairwise(pieces[:_MARKS_END])):
        if at - last >= _MARK_EVERY and _WORD_TOKEN.fullmatch(piece) and not following[0].isalnum():
            marked[at], last = f" q{at:04d}z", at
    return marked


def _section(n: int) -> str:
    return "".join(
        (
            f"## Part {n}\n\n",
            f"{_sentence(n, 14)} **{_sentence(n + 3, 4)}** {_sentence(n + 5, 18)} *{_sentence(n + 7, 3)}*\n\n",
            "".join(f"- {_sentence(n + item, 9)}\n" for item in range(4)) + "\n",
            "| Name | Value | Share |\n| --- | ---: | ---: |\n",
            "".join(f"| {_word(n + row)} | {(n * 37 + row * 11) % 1000} | {(n + row) % 100} % |\n" for row in range(4)),
            f"\n{_sentence(n + 11, 22)}\n\n```python\ntotal = 0\nfor step in range({n + 3}):\n"
            f"    total += step * {n}\nprint(total)\n```\n\n",
            f"$x_{{{n}}} = \\frac{{{n}}}{{{n + 1}}} y^2$\n\n> {_sentence(n + 13, 12)}\n\n",
        )
    )


def _sentence(start: int, words: int) -> str:
    return " ".join(_word(start * 5 + at * 7 + at * at) for at in range(words)).capitalize() + "."


def _word(at: int) -> str:
    return _WORDS[at % len(_WORDS)]
