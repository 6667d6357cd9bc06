"""/admin: users for whoever holds the secret key."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import uuid
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulators.supabase import account, passwords, sessions, users
from emulators.supabase.errors import AuthError, invalid
from emulators.supabase.server import Auth, address, bearer, mapping, parameters, text
from emulators.supabase.users import User

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s))+")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


def require_admin(auth: Auth, request: Request) -> None:
    """Let only the secret key pass; AuthError 401 or 403 otherwise."""
    token, keys = bearer(request), auth.world.config.keys
    if not token:
        raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
    if token == keys["supabase_secret"]:
        return
    if token != keys["supabase"]:
        auth.signer.claims(token)
    raise AuthError(403, "not_admin", "User not allowed")


async def list_users(auth: Auth, request: Request) -> Response:
    """GET /admin/users?page&per_page, newest first."""
    require_admin(auth, request)
    number, size = _positive(request, "page", 1), _positive(request, "per_page", 50)
    with auth.world.store.transaction() as db:
        found, total = users.page(db, limit=size, offset=(number - 1) * size)
    body = {"users": [user.json() for user in found], "aud": "authenticated"}
    return JSONResponse(body, headers={"X-Total-Count": str(total)})


async def create_user(auth: Auth, request: Request) -> Response:
    """POST /admin/users {email, password?, email_confirm?, user_metadata?, app_metadata?, ban_duration?, id?}."""
    require_admin(auth, request)
    body = await parameters(request)
    if not text(body, "email"):
        raise invalid("Cannot create a user without either an email or phone")
    email, password = address(text(body, "email")), text(body, "password") or secrets.token_urlsafe(32)
    user = users.new(email, await passwords.hashed(password), mapping(body, "user_metadata"), auth.now())
    user.user_metadata = mapping(body, "user_metadata")
    if text(body, "id"):
        _rename(user, text(body, "id"))
    _apply(auth, user, body)
    with auth.world.store.transaction() as db:
        _save_free(auth, db, user)
    return JSONResponse(user.json())


async def get_user(auth: Auth, request: Request) -> Response:
    """GET /admin/users/{id}."""
    require_admin(auth, request)
    with auth.world.store.transaction() as db:
        return JSONResponse(_addressed(db, request).json())


async def update_user(auth: Auth, request: Request) -> Response:
    """PUT /admin/users/{id}: what create takes, and nothing is confirmed by mail."""
    require_admin(auth, request)
    body = await parameters(request)
    new_hash = None
    if text(body, "password"):
        passwords.check_strength(text(body, "password"))
        new_hash = await passwords.hashed(text(body, "password"))
    with auth.world.store.transaction() as db:
        user = _addressed(db, request)
        if new_hash:
            account.set_password(user, new_hash)
            sessions.end(db, user.id, scope="global")
        if text(body, "email"):
            user.email = address(text(body, "email"))
            data = {"email": user.email, "email_verified": bool(body.get("email_confirm")), "sub": user.id}
            identity = user.identity("email") or user.link("email", user.id, {}, auth.now())
            identity.data.update(data)
        account.merge(user.user_metadata, mapping(body, "user_metadata"))
        _apply(auth, user, body)
        _save_free(auth, db, user)
    return JSONResponse(user.json())


async def delete_user(auth: Auth, request: Request) -> Response:
    """DELETE /admin/users/{id} {should_soft_delete?}. A softly deleted user keeps the id and nothing personal."""
    require_admin(auth, request)
    body = await parameters(request) if await request.body() else {}
    with auth.world.store.transaction() as db:
        user = _addressed(db, request)
        if not body.get("should_soft_delete"):
            db.execute("DELETE FROM supabase_user WHERE id = ?", (user.id,))
        elif user.deleted_at is None:
            sessions.end(db, user.id, scope="global")
            user.email = hashlib.sha256((user.id + user.email).encode()).hexdigest()
            user.password, user.new_email, user.identities = None, None, []
            user.app_metadata, user.user_metadata = {}, {}
            user.clear_tokens()
            user.deleted_at = users.format_time(auth.now())
            users.save(db, user, auth.now())
    return JSONResponse({})


def _addressed(db: sqlite3.Connection, request: Request) -> User:
    user_id = str(request.path_params["user_id"])
    try:
        uuid.UUID(user_id)
    except ValueError as error:
        raise AuthError(404, "validation_failed", "user_id must be an UUID") from error
    user = users.find(db, "id", user_id)
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user


def _apply(auth: Auth, user: User, body: dict[str, Any]) -> None:
    """What creating and updating have in common."""
    account.merge(user.app_metadata, mapping(body, "app_metadata"))
    user.role = text(body, "role") or user.role
    if body.get("email_confirm"):
        user.confirm(auth.now())
    if text(body, "ban_duration"):
        user.banned_until = _ban(text(body, "ban_duration"), auth.now())


def _ban(duration: str, now: datetime) -> str | None:
    """When a ban ends. `duration` is Go's notation (`24h`, `1h30m`) or `none`."""
    if duration == "none":
        return None
    if not _DURATION.fullmatch(duration):
        raise invalid(f'invalid format for ban duration: time: invalid duration "{duration}"')
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", duration)
    return users.format_time(now + timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in parts)))


def _rename(user: User, user_id: str) -> None:
    try:
        user.id = str(uuid.UUID(user_id))
    except ValueError as error:
        raise invalid("ID must conform to the uuid v4 format") from error
    for identity in user.identities:
        identity.user_id = identity.provider_id = identity.data["sub"] = user.id


def _save_free(auth: Auth, db: sqlite3.Connection, user: User) -> None:
    try:
        users.save(db, user, auth.now())
    except sqlite3.IntegrityError as error:
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message) from error


def _positive(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise invalid(f"Bad Pagination Parameters: {name}")
    return int(value)
