"""Questions without end: plain ones, such that make the model search, and such that make it compute."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from random import Random

import httpx

from chaos.people import Person

PAUSE_SECONDS = 1.5
"""On the average, between two questions of one person."""
TOPICS = ("How do heat pumps compare with gas boilers?", "What makes coral reefs bleach?",
          "Why did the price of lithium fall?", "How does sleep change memory?", "Who built the first telescopes?")
SUMS = ("Plot how $1,000 grows at 5 % a year for 30 years", "What is the mean of 3, 7, 8, 21 and 40?",
        "Plot the repayment of a loan of $200,000 at 4 % over 20 years")
MARK = re.compile(r"\bitem(\d{6})x\b", re.IGNORECASE)
_CHAT = re.compile(r"/chat/([0-9a-f-]{36})/")


def question(number: int, chance: Random) -> str:
    """A question that no other is like: it carries its number, which the emulated search is asked for, too."""
    mark = f"Item{number:06}x"
    kind = chance.random()
    if kind < 0.5:
        return f"{mark}: lorem {chance.choice((30, 100, 300, 1000))}"
    return f"{mark}: {chance.choice(TOPICS if kind < 0.8 else SUMS)}"


def number_in(text: str) -> int | None:
    """The number of the question that a text comes from."""
    found = MARK.search(text)
    return int(found[1]) if found else None


@dataclass
class Load:
    """What all people together have asked.

    Attributes:
        acknowledged: thread ids of the questions that the app has said it took, by number.
        unanswered: questions whose POST came to nothing: the app may have taken them or not.
        refused: questions that the app turned away, by HTTP status and place.
    """

    seed: int
    acknowledged: dict[int, str] = field(default_factory=dict)
    unanswered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    _next: int = 1

    async def of(self, person: Person) -> None:
        """One person asks on and on, until cancelled."""
        chance = Random(f"{self.seed}:person {person.number}")  # noqa: S311 - no secret: it has to be repeatable
        while True:
            await asyncio.sleep(chance.expovariate(1 / PAUSE_SECONDS))
            number, self._next = self._next, self._next + 1
            try:
                answer = await person.ask(question(number, chance))
            except httpx.HTTPError:
                self.unanswered += 1
                continue
            self._note(number, answer)

    def _note(self, number: int, answer: httpx.Response) -> None:
        place = answer.headers.get("location", "")
        if found := _CHAT.search(place):
            self.acknowledged[number] = found[1]
        else:
            reason = f"{answer.status_code} {place}".strip()
            self.refused[reason] = self.refused.get(reason, 0) + 1
