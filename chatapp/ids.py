"""The kinds of id: UUIDv7 in text, so that they sort by time; one NewType each, so that they are not mixed up."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

import uuid_utils

AccountId = NewType("AccountId", str)
ThreadId = NewType("ThreadId", str)
MessageId = NewType("MessageId", str)
"""Of an assistant message it is also the id of the turn that writes it."""
HoldId = NewType("HoldId", str)
"""Also the id and the idempotency key of the usage event that settles it."""


def new_id() -> str:
    """A new UUIDv7: time-ordered within the process."""
    return str(uuid_utils.uuid7())


def is_id(text: object) -> bool:
    """Whether something from outside has the form of an id. It says nothing about whose it is."""
    if not isinstance(text, str) or len(text) != 36:
        return False
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
