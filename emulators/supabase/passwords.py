"""Passwords: hashed with scrypt, checked for strength with the server's words."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

from emulators.supabase.errors import AuthError, invalid

MINIMUM_LENGTH = 8
MAXIMUM_BYTES = 72
"""The real server hashes with bcrypt, which reads no further."""

_COST = 2**13


async def hashed(password: str) -> str:
    """`scrypt$<salt>$<hash>` in hexadecimal. In a thread, because it takes tens of milliseconds on purpose."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${(await asyncio.to_thread(_scrypt, password, salt)).hex()}"


async def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one behind `stored`; False for an account without a password."""
    if not stored:
        return False
    _, salt, expected = stored.split("$")
    actual = await asyncio.to_thread(_scrypt, password, bytes.fromhex(salt))
    return hmac.compare_digest(actual, bytes.fromhex(expected))


def check_strength(password: str) -> None:
    """Raise AuthError: 400 over 72 bytes, 422 `weak_password` under 8 characters.

    The server counts bytes for both limits.
    """
    length_bytes = len(password.encode())
    if length_bytes > MAXIMUM_BYTES:
        raise invalid(f"Password cannot be longer than {MAXIMUM_BYTES} characters")
    if length_bytes < MINIMUM_LENGTH:
        message = f"Password should be at least {MINIMUM_LENGTH} characters."
        raise AuthError(422, "weak_password", message, weak_password_reasons=["length"])


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=8, p=1)
