"""GET and PUT /user: what a signed-in user sees and changes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulators.supabase import mail, passwords, sessions, signup, users
from emulators.supabase.errors import AuthError
from emulators.supabase.server import Auth, address, mapping, parameters, text
from emulators.supabase.users import User


async def user_get(auth: Auth, request: Request) -> Response:
    """GET /user."""
    with auth.world.store.transaction() as db:
        user, _ = sessions.signed_in(auth, db, request)
    return JSONResponse(user.json())


async def user_update(auth: Auth, request: Request) -> Response:
    """PUT /user {password?, data?, email?}. A new password ends all other sessions, a new address needs two mails."""
    body = await parameters(request)
    with auth.world.store.transaction() as db:
        user, session_id = sessions.signed_in(auth, db, request)
    email = address(text(body, "email")) if text(body, "email") else ""
    if text(body, "password"):
        passwords.check_strength(text(body, "password"))
    if "app_metadata" in body:
        raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
    challenge = mail.Challenge.parse(body)
    changes_email = email not in ("", user.email)
    if changes_email:
        _check_free(auth, email)
    new_hash = await _new_password(user, text(body, "password"))
    if changes_email:
        await _ask_both_addresses(auth, request, user.email, email, challenge)
    with auth.world.store.transaction() as db:
        current = users.find(db, "id", user.id)
        if current is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        if changes_email:
            mail.save_flow(auth, db, current, "email_change", challenge)
        merge(current.user_metadata, mapping(body, "data"))
        if new_hash:
            set_password(current, new_hash, keep_email_change=changes_email)
            sessions.end(db, user.id, scope="others", session_id=session_id)
        users.save(db, current, auth.now())
    return JSONResponse(current.json())


def merge(metadata: dict[str, Any], updates: dict[str, Any]) -> None:
    """Change metadata key by key; a null removes its key."""
    for key, value in updates.items():
        if value is None:
            metadata.pop(key, None)
        else:
            metadata[key] = value


def set_password(user: User, hashed: str, *, keep_email_change: bool = False) -> None:
    """Set a password and forget every token that was sent before, for it may have been a thief who asked."""
    user.password = hashed
    tokens = (user.email_change_token_current, user.email_change_token_new)
    user.clear_tokens()
    user.confirmation_sent_at = user.recovery_sent_at = None
    if keep_email_change:
        user.email_change_token_current, user.email_change_token_new = tokens
    else:
        user.email_change_sent_at = None


async def _ask_both_addresses(
    auth: Auth, request: Request, current: str, email: str, challenge: mail.Challenge | None
) -> None:
    async with auth.lock(current):
        with auth.world.store.transaction() as db:
            user = users.find(db, "email", current)
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        await mail.email_change(auth, request, user, email, challenge)
        signup.save_email_change(auth, user)


async def _new_password(user: User, password: str) -> str | None:
    if not password:
        return None
    if await passwords.matches(password, user.password):
        raise AuthError(422, "same_password", "New password should be different from the old password.")
    return await passwords.hashed(password)


def _check_free(auth: Auth, email: str) -> None:
    with auth.world.store.transaction() as db:
        if users.find(db, "email", email):
            raise AuthError(422, "email_exists", "A user with this email address has already been registered")
