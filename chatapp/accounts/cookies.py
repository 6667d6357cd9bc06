"""The cookies: their names, and how one is found in a header."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.settings import Settings

SESSION = "session"
RECOVERY = "recovery"
FORM = "form"
"""The address that somebody typed, for ten minutes, so that the next page can fill it in or name it. The
State reads it from the websocket's header; it is never in a URL, which would end in histories and logs."""


@dataclass(frozen=True)
class Cookie:
    """A cookie to set; an empty value deletes it. No script in the browser can read it.

    Attributes:
        max_age_seconds: how long the browser keeps it.
    """

    name: str
    value: str
    max_age_seconds: int


def full_name(settings: Settings, name: str) -> str:
    """`__Host-` binds a cookie to this very host over HTTPS; browsers refuse it over plain http://localhost."""
    return f"__Host-{name}" if settings.secure_cookies else name


def find(header: str | None, name: str) -> str | None:
    """The first value of this name in a Cookie header."""
    for part in (header or "").split(";"):
        key, separator, value = part.partition("=")
        if separator and key.strip() == name:
            return value.strip()
    return None
