"""What Resend demands of a mail, and how it refuses one."""

from __future__ import annotations

import re
from typing import Any

RECIPIENT_LIMIT = 50
_ADDRESS = r"[^@\s<>,;]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_BARE_OR_NAMED = re.compile(rf"{_ADDRESS}|[^<>]*<{_ADDRESS}>")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FORMAT = "The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."


class Refused(Exception):
    """An answer in Resend's form: `{"statusCode", "name", "message"}`."""

    def __init__(self, status: int, name: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = {"statusCode": status, "name": name, "message": message}


def check(email: object, *, batch: bool = False) -> dict[str, Any]:
    """Return the mail if Resend would take it, else raise Refused. `batch` forbids what batches cannot do."""
    if not isinstance(email, dict):
        raise Refused(422, "validation_error", "The email must be an object.")
    present = {name: value for name, value in email.items() if value is not None}
    for name in ("from", "to", "subject"):
        if name not in present:
            raise Refused(422, "missing_required_field", f"Missing `{name}` field.")
    _check_content(present, batch=batch)
    if not isinstance(present["from"], str) or not _BARE_OR_NAMED.fullmatch(present["from"].strip()):
        raise Refused(422, "invalid_from_address", f"Invalid `from` field. {_FORMAT}")
    for name in ("to", "cc", "bcc", "reply_to"):
        _check_addresses(present, name)
    _check_extras(present)
    return present


def many(email: dict[str, Any], name: str) -> list[str]:
    """A field that may hold one string or several, as a list; empty if it is absent."""
    value = email.get(name)
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _check_content(email: dict[str, Any], *, batch: bool) -> None:
    if not isinstance(email["subject"], str):
        raise Refused(422, "validation_error", "The `subject` field must be a `string`.")
    for name in ("html", "text"):
        if not isinstance(email.get(name, ""), str):
            raise Refused(422, "validation_error", f"The `{name}` field must be a `string`.")
    for name in ("template", "scheduled_at"):  # honest: the emulator has neither templates nor a timetable
        if name in email:
            raise Refused(422, "validation_error", f"The emulator does not support the `{name}` field.")
    if batch and "attachments" in email:
        raise Refused(422, "validation_error", "The `attachments` field is not supported in batches.")
    if not email.get("html") and not email.get("text"):
        raise Refused(422, "validation_error", "Missing `html` or `text` field.")


def _check_addresses(email: dict[str, Any], name: str) -> None:
    value = email.get(name, [])
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise Refused(422, "validation_error", f"The `{name}` field must be a `string` or an array of them.")
    if name == "to" and not 1 <= len(entries) <= RECIPIENT_LIMIT:
        raise Refused(422, "validation_error", f"The `to` field must hold between 1 and {RECIPIENT_LIMIT} addresses.")
    if not all(_BARE_OR_NAMED.fullmatch(entry.strip()) for entry in entries):
        raise Refused(422, "validation_error", f"Invalid `{name}` field. {_FORMAT}")


def _check_extras(email: dict[str, Any]) -> None:
    headers = email.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Refused(422, "validation_error", "The `headers` field must be an object of strings.")
    tags = email.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, dict) for tag in tags):
        raise Refused(422, "validation_error", "The `tags` field must be an array of objects.")
    for tag in tags:
        if not all(_TAG.fullmatch(str(tag.get(name, ""))) for name in ("name", "value")):
            message = "Tags should only contain ASCII letters, numbers, underscores, or dashes."
            raise Refused(422, "validation_error", message)
