"""Sign-up, and the mails that a visitor can ask for without being signed in."""

from __future__ import annotations

import copy
import sqlite3
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulators.supabase import mail, passwords, users
from emulators.supabase.errors import AuthError, invalid
from emulators.supabase.server import Auth, address, mapping, parameters, text
from emulators.supabase.users import User


async def sign_up(auth: Auth, request: Request) -> Response:
    """POST /signup. No session: the address is confirmed first. A confirmed address is answered with a fake user."""
    body = await parameters(request)
    if text(body, "phone"):
        raise AuthError(400, "phone_provider_disabled", "Phone signups are disabled")
    if not text(body, "email"):
        raise AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    password = text(body, "password")
    if not password:
        raise invalid("Signup requires a valid password")
    passwords.check_strength(password)
    challenge = mail.Challenge.parse(body)
    email, data = address(text(body, "email")), mapping(body, "data")
    async with auth.lock(email):
        with auth.world.store.transaction() as db:
            user = users.find(db, "email", email)
        if user and user.email_confirmed_at:
            return JSONResponse(_fake(auth, user, data))
        # An unconfirmed account keeps its first password: whoever asks again has not proved to be the same person.
        user = user or users.new(email, await passwords.hashed(password), data, auth.now())
        await mail.confirmation(auth, request, user, challenge)
        with auth.world.store.transaction() as db:
            _save_new(auth, db, user)
            mail.save_flow(auth, db, user, "email/signup", challenge)
    return JSONResponse(user.json())


async def recover(auth: Auth, request: Request) -> Response:
    """POST /recover. `{}` whether or not the address is known."""
    body = await parameters(request)
    if not text(body, "email"):
        raise invalid("Password recovery requires an email")
    email, challenge = address(text(body, "email")), mail.Challenge.parse(body)
    async with auth.lock(email):
        with auth.world.store.transaction() as db:
            user = users.find(db, "email", email)
        if user is None:
            return JSONResponse({})
        await mail.recovery(auth, request, user, challenge)
        save_columns(auth, user, "recovery_token", "recovery_sent_at")
        with auth.world.store.transaction() as db:
            mail.save_flow(auth, db, user, "recovery", challenge)
    return JSONResponse({})


async def resend(auth: Auth, request: Request) -> Response:
    """POST /resend for `signup` and `email_change`. `{}` whether or not there is anything to send."""
    body = await parameters(request)
    kind, challenge = text(body, "type"), mail.Challenge.parse(body)
    if kind not in ("signup", "email_change"):
        raise invalid("Missing one of these types: signup, email_change, sms, phone_change")
    if not text(body, "email"):
        signup = kind == "signup"
        raise invalid("Type provided requires an email address" if signup else "Missing email address or phone number")
    email = address(text(body, "email"))
    async with auth.lock(email):
        with auth.world.store.transaction() as db:
            user = users.find(db, "email", email)
        if user and kind == "signup" and not user.email_confirmed_at:
            await mail.confirmation(auth, request, user, challenge)
            save_columns(auth, user, "confirmation_token", "confirmation_sent_at")
        elif user and kind == "email_change" and user.new_email:
            await mail.email_change(auth, request, user, user.new_email, challenge)
            save_email_change(auth, user)
    return JSONResponse({})


def save_email_change(auth: Auth, user: User) -> None:
    """Write what `mail.email_change` noted."""
    save_columns(
        auth, user, "new_email", "email_change_token_current", "email_change_token_new", "email_change_sent_at",
        "email_change_confirmations",
    )  # fmt: skip


def save_columns(auth: Auth, user: User, *names: str) -> None:
    """Write only these attributes: what changed elsewhere while the hook was awaited stays as it is."""
    with auth.world.store.transaction() as db:
        current = users.find(db, "id", user.id)
        if current is None:
            raise AuthError(404, "user_not_found", "User not found")
        for name in names:
            setattr(current, name, getattr(user, name))
        users.save(db, current, auth.now())


def _save_new(auth: Auth, db: sqlite3.Connection, user: User) -> None:
    try:
        users.save(db, user, auth.now())
    except sqlite3.IntegrityError as error:  # Google or an administrator made the same account in the meantime
        raise AuthError(500, "", "Database error saving new user") from error


def _fake(auth: Auth, user: User, data: dict[str, Any]) -> dict[str, Any]:
    """What a repeated sign-up of a confirmed address is told: nothing of the real account, no identities."""
    fresh = users.new(user.email, None, data, auth.now())
    fake = copy.copy(fresh)
    fake.identities, fake.user_metadata, fake.role = [], data, ""
    fake.confirmation_sent_at = fake.created_at
    return fake.json()
