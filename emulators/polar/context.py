"""What every part of the emulator works with: the world, the tables, the settings, and the wake-up for deliveries."""

from __future__ import annotations

import asyncio
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emulators.polar.settings import Settings
from emulators.polar.tables import Document, Tables, new_id
from emulators.store import Store

if TYPE_CHECKING:
    from emulators.world import World

SLUG = "emulated"
_WITHOUT_OFFSET = len("2026-11-20T12:00:00.000000")


def stamp(moment: datetime) -> str:
    """A moment as Polar writes it: UTC, microseconds, `Z`. Such texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:_WITHOUT_OFFSET] + "Z"


def moment(text: str) -> datetime:
    """The aware moment that a stamp says."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Polar:
    """One emulated organization. There is one instance per store, shared by routes, pages and background work."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world, self.settings, self.tables = world, settings, Tables(world.store)
        self.wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.organization_id: str = self._organization()["id"]

    def now(self) -> datetime:
        """The emulated time."""
        return self.world.clock.now()

    def base(self) -> Document:
        """The first fields of every document."""
        return {"id": new_id(), "created_at": stamp(self.now()), "modified_at": None}

    def touch(self, document: Document) -> Document:
        """Store a changed document, with the time of the change."""
        return self.tables.save({**document, "modified_at": stamp(self.now())})

    def listen(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Say in which event loop the deliveries run (None: they have stopped)."""
        self._loop = loop

    def rouse(self) -> None:
        """Wake the background task, from whatever thread: there is something to deliver or to bill."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake.set)

    def _organization(self) -> Document:
        found = self.tables.find("organization")
        if found:
            return found[0]
        return self.tables.add("organization", {"id": new_id(), "created_at": stamp(self.now()), "invoices": 0})


_instances: weakref.WeakKeyDictionary[Store, Polar] = weakref.WeakKeyDictionary()


def of(world: World, settings: Settings | None = None) -> Polar:
    """The emulator of that world; it is made on the first call, which decides the settings."""
    polar = _instances.get(world.store)
    if polar is None:
        polar = _instances[world.store] = Polar(world, settings or Settings())
    return polar
