"""Lives of the app: each begins with a start, has its faults, and ends with a kill at the moment of its plan."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chaos import database
from chaos.books import unfinished
from chaos.house import DidNotStart, House
from chaos.plan import Life, Spell

READY_SECONDS = 90.0
"""An app that does not answer by then hangs: a database that is locked meanwhile is allowed for."""
LOAD_SECONDS = (1.0, 10.0)
"""The shortest and the longest that the app runs before a kill under load, once it answers."""
WATCH_SECONDS = 6.0
"""How long a kill waits for what it shall hit; then it comes all the same."""
AIM_SECONDS = 0.1
"""The longest from seeing that to the kill."""
START_SHARE = 1.2
"""A kill of a start comes between its beginning and a little after its usual end."""
IN_FLIGHT = "outbox_message WHERE channel = 'usage' AND delivered_at IS NULL", timedelta(seconds=40)
RECOVERING = "turn WHERE runner LIKE 'recover:%'", timedelta(seconds=20)
"""Rows to be seen, with the length of their leases: those that were taken in this life count alone."""


@dataclass
class Told:
    """What the run itself saw.

    Attributes:
        kills: when.
        hit: how many kills were aimed at what, and met it.
        start_seconds: from the process's start until it answered, of each start that got there.
        hung: starts that ended in neither an answer nor an end.
    """

    kills: list[datetime] = field(default_factory=list)
    hit: dict[str, int] = field(default_factory=dict)
    start_seconds: list[float] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)

    @property
    def usual_start_seconds(self) -> float:
        """The median."""
        return statistics.median(self.start_seconds)


class Lives:
    """One life after another; between two of them no time is lost."""

    def __init__(self, house: House, told: Told) -> None:
        self._house, self._told = house, told
        self._began = 0.0
        self._spells: dict[str, asyncio.Task[None]] = {}

    async def first(self) -> None:
        """Start the app in peace. Raises DidNotStart."""
        await self._start()
        await self._ready()

    async def live(self, life: Life) -> str:
        """Live that life, kill the app, start it again at once; returns what happened, in one line."""
        house = self._house
        await house.switch_all_off()
        await house.set_pace(life.pace)
        if not life.faults_late:
            await house.switch_on(*life.faults)
        self._begin("locked", life.locked, self._locked)
        self._begin("full", life.full, self._full)
        met = await self._until_its_moment(life)
        busy = await asyncio.to_thread(unfinished, house)
        lived = time.monotonic() - self._began
        self._told.kills.append(datetime.now(UTC))
        alive = await house.kill()
        await self._start()
        what = life.moment if met else f"{life.moment}, missed"
        self._told.hit[what] = self._told.hit.get(what, 0) + 1
        state = ", ".join(f"{count} {name}" for name, count in busy.items())
        return f"{what:17} {lived:5.1f} s  {state:36} {life}{'' if alive else ' (it had ended by itself)'}"

    async def end(self) -> None:
        """No more kills: whatever is wrong with the database ends now, and the app starts once more."""
        for spell in self._spells.values():
            spell.cancel()
        await asyncio.gather(*self._spells.values(), return_exceptions=True)
        self._house.disk.free()
        if not self._house.pids:
            await self._house.kill()
            await self._start()

    async def _start(self) -> None:
        await self._house.start()
        self._began = time.monotonic()

    async def _ready(self) -> None:
        await self._house.ready(READY_SECONDS)
        self._told.start_seconds.append(time.monotonic() - self._began)

    async def _until_its_moment(self, life: Life) -> bool:
        """Return when the kill is due; False if what it shall hit is not to be seen."""
        if life.moment == "start-up":
            due = self._began + life.share * START_SHARE * self._told.usual_start_seconds
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            return True
        try:
            await self._ready()
        except DidNotStart as error:
            if self._house.pids:
                self._told.hung.append(f"life {life.number}: {error}")
            return False
        if life.faults_late:
            await self._house.switch_on(*life.faults)
        if life.moment == "load":
            shortest, longest = LOAD_SECONDS
            await asyncio.sleep(shortest + life.share * (longest - shortest))
            return True
        seen = await self._seen(*(RECOVERING if life.moment == "recovery" else IN_FLIGHT))
        await asyncio.sleep(life.share * AIM_SECONDS)
        return seen

    async def _seen(self, rows: str, lease: timedelta) -> bool:
        """Wait until there are such rows, leased in this life; False if that takes too long."""
        deadline, lived = time.monotonic() + WATCH_SECONDS, timedelta(seconds=time.monotonic() - self._began)
        since = (datetime.now(UTC) - lived + lease).isoformat(sep=" ")
        sql = f"SELECT count(*) AS n FROM {rows} AND lease_until > '{since}'"  # noqa: S608 - text of our own
        while time.monotonic() < deadline:
            if (await asyncio.to_thread(self._house.database.rows, sql))[0]["n"]:
                return True
            await asyncio.sleep(0.01)
        return False

    def _begin(self, name: str, spell: Spell | None, work: Callable[[float], Awaitable[None]]) -> None:
        """Begin a spell beside the lives, unless the last of its kind is not over."""
        last = self._spells.get(name)
        if last is not None and last.done():
            last.result()
        if spell is not None and (last is None or last.done()):
            self._spells[name] = asyncio.create_task(self._later(spell, work))

    async def _later(self, spell: Spell, work: Callable[[float], Awaitable[None]]) -> None:
        await asyncio.sleep(spell.after_seconds)
        await work(spell.seconds)

    async def _locked(self, seconds: float) -> None:
        await database.lock(self._house.database, seconds)

    async def _full(self, seconds: float) -> None:
        await asyncio.to_thread(self._house.disk.fill, self._house.pids)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._house.disk.free()
