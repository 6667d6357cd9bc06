"""The settings: read once from the environment and `.env`, frozen, complete, and the only reader of either.

Development needs no variable at all: a vendor without a key is emulated (`python -m emulators`). Production needs
every key, and says in one message all that is missing or malformed and how to mend it.
"""

from chatapp.settings.environment import SettingsError, load
from chatapp.settings.model import AppMode, ModelPrice, Settings, Vendor
from chatapp.settings.vendors import EMULATED_MODEL, EMULATOR_KEYS

__all__ = ["EMULATED_MODEL", "EMULATOR_KEYS", "AppMode", "ModelPrice", "Settings", "SettingsError", "Vendor", "load"]
