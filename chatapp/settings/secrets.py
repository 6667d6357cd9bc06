"""What a shared secret of a webhook must look like."""

from __future__ import annotations

import base64
import binascii

_STANDARD = "whsec_"


def parts(secrets: str) -> list[str]:
    """The single secrets of a list, which are joined by `|` while one replaces another."""
    return [secret.strip() for secret in secrets.split("|")]


def is_hook_secret(secret: str) -> bool:
    """Whether it is `v1,whsec_` and base64 with a value in it, as Supabase writes its hooks' secrets."""
    encoded = secret.removeprefix("v1," + _STANDARD)
    try:
        return encoded != secret and len(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)) > 0
    except (binascii.Error, ValueError):
        return False


def same(one: str, other: str) -> bool:
    """Whether both have the same value, with or without the version before it."""
    return one.removeprefix("v1,") == other.removeprefix("v1,")
