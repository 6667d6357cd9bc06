"""Encrypting what must be kept but not read: refresh tokens at rest, and the recovery in a cookie."""

from __future__ import annotations

from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken

from chatapp.settings import Settings


def seal(settings: Settings, text: str, now: datetime) -> str:
    """Encrypt and sign with SECRET_KEY; the time goes in."""
    return Fernet(settings.secret_key).encrypt_at_time(text.encode(), int(now.timestamp())).decode()


def unseal(settings: Settings, sealed: str, now: datetime, *, lifetime_seconds: int | None = None) -> str | None:
    """The text, or None if it was not sealed with this key, was altered, or is older than `lifetime_seconds`."""
    fernet = Fernet(settings.secret_key)
    try:
        if lifetime_seconds is None:
            return fernet.decrypt(sealed.encode()).decode()
        return fernet.decrypt_at_time(sealed.encode(), lifetime_seconds, int(now.timestamp())).decode()
    except InvalidToken:
        return None
