"""The run: lives of the app, one after another, each ended by a kill; then calm, recovery, and the books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chaos import books, plan
from chaos.crowd import Crowd
from chaos.house import House
from chaos.lives import READY_SECONDS, Lives, Told
from chaos.verdict import Line, Verdict, judge

CALM_SECONDS = 660.0
"""Longer than a hold's lease and than the longest pause of a delivery: both are five minutes."""
SAID_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        kills: how many.
        people: who ask from the start.
        seed: of all choices.
    """

    kills: int
    people: int
    seed: int
    postgres: bool = False


async def run(options: Options, folder: Path, say: Callable[[str], None]) -> Verdict:
    """Do it all, and end all processes whatever happens. Raises DidNotStart if the app does not start in peace."""
    async with _opened(folder, postgres=options.postgres) as house:
        disk = "the disk is never full" if options.postgres else f"a full disk is {house.disk.kind}"
        say(f"seed {options.seed}, {options.kills} kills, {house.database.kind}; {disk}; logs and data: {folder}")
        told = Told()
        lives = Lives(house, told)
        await house.open()
        await lives.first()
        async with Crowd(house, options.seed) as crowd:
            await crowd.gather(options.people)
            say(f"the app starts in {told.start_seconds[0]:.1f} s; {options.people} people pay per use and ask")
            for number in range(1, options.kills + 1):
                life = plan.life(options.seed, number)
                if options.postgres:  # whose files are on another disk than the app's
                    life = replace(life, full=None)
                if life.newcomer:
                    crowd.welcome()
                say(f"{number:4}/{options.kills}  {await lives.live(life)}")
        await lives.end()
        seconds = await _calm(house, say)
        found = judge(await books.read(house, crowd.load, tuple(told.kills)))
        return Verdict((*_own_lines(crowd, told, house, seconds), *found.lines))


@asynccontextmanager
async def _opened(folder: Path, *, postgres: bool) -> AsyncIterator[House]:
    house = House(folder, postgres=postgres)
    try:
        yield house
    finally:
        await house.close()


async def _calm(house: House, say: Callable[[str], None]) -> float:
    """All is well again: wait until the app has recovered and delivered everything; returns the seconds."""
    began, said = time.monotonic(), 0.0
    await house.switch_all_off()
    await house.ready(READY_SECONDS)
    while time.monotonic() < began + CALM_SECONDS:
        left = await asyncio.to_thread(books.unfinished, house)
        if not any(left.values()):
            break
        if time.monotonic() > said + SAID_EVERY_SECONDS:
            said = time.monotonic()
            say("calm; under way: " + ", ".join(f"{count} {what}" for what, count in left.items()))
        await asyncio.sleep(0.5)
    return time.monotonic() - began


def _own_lines(crowd: Crowd, told: Told, house: House, seconds: float) -> list[Line]:
    """What the run itself saw."""
    load = crowd.load
    return [
        Line("kills", len(told.kills)),
        *(Line(f"- {what}", count) for what, count in sorted(told.hit.items())),
        Line("ends without a kill", house.ended_by_itself),
        Line("starts that hung", len(told.hung), 0, tuple(told.hung)),
        Line("start of the app, median, ms", round(told.usual_start_seconds * 1000)),
        Line("recovery after the last kill, ms", round(seconds * 1000)),
        Line("newcomers who paid meanwhile", crowd.arrived),
        Line("questions that got no answer from the app", load.unanswered),
        *(Line(f"questions turned away: {reason}"[:60], count) for reason, count in sorted(load.refused.items())),
    ]
