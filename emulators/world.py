"""What every emulator is given."""

from __future__ import annotations

from dataclasses import dataclass

from emulators.clock import Clock
from emulators.config import Config
from emulators.faults import Faults
from emulators.store import Store


@dataclass(frozen=True)
class World:
    """What every emulator is given: its configuration, the store, the clock and the faults that are on."""

    config: Config
    store: Store
    clock: Clock
    faults: Faults
