"""The mails that carry a token. Each goes out through the hook before anything is saved, so that a refusal undoes all.

A handler loads the user, changes it in memory, calls one of these, and then saves: the store is never locked while
the hook is awaited, and nobody sees a user whose mail could not be sent.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.requests import Request

from emulators.supabase import users
from emulators.supabase.errors import AuthError, invalid
from emulators.supabase.server import Auth, ip_address, text
from emulators.supabase.users import User

INTERVAL = timedelta(seconds=60)
"""Between two mails of one kind to one address."""

LIFETIME = timedelta(hours=1)
"""Of a token sent by mail."""

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True)
class Challenge:
    """A PKCE challenge (RFC 7636) that came with a request."""

    value: str
    method: str

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Challenge | None:
        """The challenge in a body or query, None if there is none, AuthError 400 if it is malformed."""
        value, method = text(body, "code_challenge"), text(body, "code_challenge_method").lower()
        if bool(value) != bool(method):
            raise invalid("PKCE flow requires code_challenge_method and code_challenge")
        if not value:
            return None
        if not 43 <= len(value) <= 128:
            raise invalid("code challenge has to be between 43 and 128 characters")
        if not _CHALLENGE.fullmatch(value):
            letters = "alphanumeric characters, hyphens, periods, underscores and tildes"
            raise invalid(f"code challenge can only contain {letters}")
        if method not in ("s256", "plain"):
            raise AuthError(500, "", f'unsupported code_challenge method "{method}"')
        return cls(value, method)


def token_hash(email: str, otp: str) -> str:
    """What a mail's link carries for the six digits `otp` sent to `email`."""
    return hashlib.sha224((email + otp).encode()).hexdigest()


def check_interval(auth: Auth, sent_at: str | None) -> None:
    """Raise AuthError 429 if the last mail of this kind is less than a minute old."""
    if sent_at is None:
        return
    left = users.parse_time(sent_at) + INTERVAL - auth.now()
    if left > timedelta(0):
        message = f"For security purposes, you can only request this after {int(left.total_seconds())} seconds."
        raise AuthError(429, "over_email_send_rate_limit", message)


def expired(auth: Auth, sent_at: str | None) -> bool:
    """Whether a token sent then works no longer."""
    return sent_at is None or auth.now() > users.parse_time(sent_at) + LIFETIME


async def confirmation(auth: Auth, request: Request, user: User, challenge: Challenge | None) -> None:
    """Send the mail that confirms a sign-up, and note its token on `user`, unsaved."""
    check_interval(auth, user.confirmation_sent_at)
    otp, token = _token(user.email, challenge)
    await _send(auth, request, user, {"token": otp, "token_hash": token, "email_action_type": "signup"})
    user.confirmation_token, user.confirmation_sent_at = token, users.format_time(auth.now())


async def recovery(auth: Auth, request: Request, user: User, challenge: Challenge | None) -> None:
    """Send the mail that lets a user in to choose a new password, and note its token on `user`, unsaved."""
    check_interval(auth, user.recovery_sent_at)
    otp, token = _token(user.email, challenge)
    await _send(auth, request, user, {"token": otp, "token_hash": token, "email_action_type": "recovery"})
    user.recovery_token, user.recovery_sent_at = token, users.format_time(auth.now())


async def email_change(auth: Auth, request: Request, user: User, new_email: str, challenge: Challenge | None) -> None:
    """Ask both addresses to agree to a change, and note the tokens on `user`, unsaved.

    The names in the hook's payload are crossed, as in the real server: `token` is for the current address but
    `token_hash` for the new one, and the other way round with `token_new` and `token_hash_new`.
    """
    check_interval(auth, user.email_change_sent_at)
    user.new_email, user.email_change_confirmations = new_email, 0
    otp_current, user.email_change_token_current = _token(user.email, challenge)
    otp_new, user.email_change_token_new = _token(new_email, challenge)
    data = {
        "token": otp_current,
        "token_hash": user.email_change_token_new,
        "token_new": otp_new,
        "token_hash_new": user.email_change_token_current,
        "email_action_type": "email_change",
    }
    await _send(auth, request, user, data)
    user.email_change_sent_at = users.format_time(auth.now())


def save_flow(auth: Auth, db: sqlite3.Connection, user: User, method: str, challenge: Challenge | None) -> None:
    """Remember a challenge until the link in the mail is opened; `method` names the kind of mail."""
    if challenge is None:
        return
    query = (
        "INSERT INTO supabase_flow (id, user_id, method, auth_code, code_challenge, code_challenge_method, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    code, at = str(uuid.uuid4()), users.format_time(auth.now())
    db.execute(query, (str(uuid.uuid4()), user.id, method, code, challenge.value, challenge.method, at))


def _token(email: str, challenge: Challenge | None) -> tuple[str, str]:
    """Six digits and their hash, with a prefix that tells the verify endpoint that PKCE was asked for."""
    otp = f"{secrets.randbelow(10**6):06}"
    return otp, ("pkce_" if challenge else "") + token_hash(email, otp)


async def _send(auth: Auth, request: Request, user: User, data: dict[str, Any]) -> None:
    email_data = {
        "token_new": "",
        "token_hash_new": "",
        "old_email": "",
        "old_phone": "",
        "provider": "",
        "factor_type": "",
        "redirect_to": auth.redirect(request.query_params.get("redirect_to")),
        "site_url": auth.url,
        **data,
    }
    metadata = {
        "uuid": str(uuid.uuid4()),
        "time": users.format_time(auth.now()),
        "name": "send-email",
        "ip_address": ip_address(request),
    }
    await auth.hook.send({"metadata": metadata, "user": user.json(), "email_data": email_data})
