"""Reading single variables: a text, a flag, an address, an origin."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from chatapp.settings import addresses
from chatapp.settings.model import AppMode


class Variables:
    """The variables of the environment, each read in its form; what is wrong with them is collected, not raised."""

    def __init__(self, environment: Mapping[str, str], tolerate: Collection[str]) -> None:
        self._environment = environment
        self._tolerate = tolerate
        self._problems: list[str] = []
        mode = self._get("APP_MODE", "development")
        if mode not in ("development", "production"):
            self._problem("APP_MODE", f"is {mode!r}; write development or production")
            mode = "production"
        self._mode = AppMode(mode)

    @property
    def _production(self) -> bool:
        return self._mode is AppMode.PRODUCTION

    def _get(self, name: str, default: str) -> str:
        return (self._environment.get(name) or "").strip() or default

    def _problem(self, name: str, what: str) -> None:
        if name not in self._tolerate:
            self._problems.append(f"{name} {what}.")

    def _url(self, name: str, default: str) -> str:
        value = self._get(name, default).rstrip("/")
        if addresses.parse(value) is None:
            self._problem(name, f"is {value!r}; write an address such as https://example.com")
        return value

    def _origin(self, name: str, default: str) -> str:
        """An address without anything behind the port; empty where it is wrong."""
        value = self._url(name, default)
        parts = addresses.parse(value)
        if parts is None:
            return ""
        origin = addresses.origin(parts)
        if origin is None:
            self._problem(name, f"is {value!r}; write the origin only: no path, query or user")
            return ""
        if self._production and parts.scheme != "https":
            self._problem(name, "must begin with https:// in production, or sessions could be stolen")
        return origin

    def _flag(self, name: str, *, default: bool) -> bool:
        value = self._get(name, "on" if default else "off").lower()
        if value not in ("on", "off"):
            self._problem(name, f"is {value!r}; write on or off")
        return value == "on"
