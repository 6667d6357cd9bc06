"""Everybody who asks: those who were there before the first kill, and those who come in the middle of it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from chaos.house import House
from chaos.load import Load
from chaos.people import Person


class Crowd:
    """The people, each a task of their own until the end of the block.

    Attributes:
        load: what they have asked.
        arrived: how many newcomers have paid.
    """

    def __init__(self, house: House, seed: int) -> None:
        self.load = Load(seed)
        self.arrived = 0
        self._house = house
        self._people: list[Person] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def gather(self, count: int) -> None:
        """Let so many people sign up and pay, and then begin to ask."""
        people = [self._person() for _ in range(count)]
        await asyncio.gather(*(person.join() for person in people))
        self._tasks += [asyncio.create_task(self.load.of(person)) for person in people]

    def welcome(self) -> None:
        """Somebody comes, signs up and pays as soon as the app lets them, and asks as the others do."""
        self._tasks.append(asyncio.create_task(self._come(self._person())))

    async def __aenter__(self) -> Crowd:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for person in self._people:
            await person.close()
        if error is None:
            for end in ended:
                if isinstance(end, Exception):  # nobody stops by themselves: this program is wrong, not the app
                    raise end

    async def _come(self, person: Person) -> None:
        await person.join()
        self.arrived += 1
        await self.load.of(person)

    def _person(self) -> Person:
        self._people.append(Person(self._house, len(self._people) + 1))
        return self._people[-1]
