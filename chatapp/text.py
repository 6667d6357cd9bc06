"""Text that every database, and every vendor, takes."""

from __future__ import annotations

from typing import TypeVar

_T = TypeVar("_T")


def storable(text: str) -> str:
    """The text without what breaks a save or a request although JSON can carry it.

    NUL, which Postgres refuses, is left out. Half of a surrogate pair, which UTF-8 cannot express, becomes U+FFFD; two
    halves that stand side by side become the character that they are.
    """
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def storable_data(value: _T) -> _T:
    """JSON data, its texts and its keys made `storable`; numbers and everything else stay the objects they are."""
    return _storable_data(value)  # type: ignore[return-value]  # each kind comes back as its own kind


def _storable_data(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case dict():
            return {_storable_data(key): _storable_data(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_storable_data(item) for item in value)
    return value
