"""Sessions: issued at sign-in, kept alive by rotating refresh tokens, ended by logout."""

from __future__ import annotations

import secrets
import sqlite3
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request

from emulators.supabase import users
from emulators.supabase.errors import AuthError, OAuthError
from emulators.supabase.server import Auth, bearer
from emulators.supabase.tokens import LIFETIME_SECONDS
from emulators.supabase.users import User

REUSE_INTERVAL = timedelta(seconds=10)


def issue(auth: Auth, db: sqlite3.Connection, user: User, method: str) -> dict[str, Any]:
    """Start a session and return the token response. `method` is `password`, `otp` or `oauth`."""
    now, session_id = auth.now(), str(uuid.uuid4())
    user.last_sign_in_at = at = users.format_time(now)
    users.save(db, user, now)
    db.execute(
        "INSERT INTO supabase_session VALUES (?, ?, ?, 0, ?, ?, ?)",
        (session_id, user.id, method, at, at, int(time.time())),
    )
    return _response(auth, db, user, session_id, _new_refresh_token(db, session_id, 0))


def refresh(auth: Auth, db: sqlite3.Connection, token: str) -> dict[str, Any] | AuthError:
    """Exchange a refresh token, or return the error with which the request fails.

    Each exchange issues the next token. An old one is answered with the current one if it is the one just before it
    (the client may never have received the answer), or if the last exchange was within the reuse interval (several
    tabs at once). Any older one ends the session. The error is returned, not raised: that end must be committed.
    """
    if not token:
        raise OAuthError("invalid_request", "refresh_token required")
    used = db.execute("SELECT * FROM supabase_refresh_token WHERE token = ?", (token,)).fetchone()
    if used is None:
        return AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    session = db.execute("SELECT * FROM supabase_session WHERE id = ?", (used["session_id"],)).fetchone()
    user = users.find(db, "id", session["user_id"])
    assert user is not None  # the foreign key deletes sessions with their user
    if user.is_banned(auth.now()):
        return AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")
    behind, current = session["counter"] - used["counter"], token
    if behind == 0:
        current = _new_refresh_token(db, session["id"], session["counter"] + 1)
        update = "UPDATE supabase_session SET counter = counter + 1 WHERE id = ?"
        db.execute(update, (session["id"],))
    elif behind == 1 or _just_refreshed(session, auth.now()):
        query = "SELECT token FROM supabase_refresh_token WHERE session_id = ? AND counter = ?"
        current = db.execute(query, (session["id"], session["counter"])).fetchone()["token"]
    else:
        db.execute("DELETE FROM supabase_session WHERE id = ?", (session["id"],))
        return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
    at = users.format_time(auth.now())
    db.execute("UPDATE supabase_session SET refreshed_at = ? WHERE id = ?", (at, session["id"]))
    return _response(auth, db, user, session["id"], current)


def signed_in(auth: Auth, db: sqlite3.Connection, request: Request) -> tuple[User, str]:
    """The user and session id of the request's access token, else AuthError 401 or 403."""
    token = bearer(request)
    if not token:
        raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
    if token in (auth.world.config.keys["supabase"], auth.world.config.keys["supabase_secret"]):
        raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
    claims = auth.signer.claims(token)
    user = users.find(db, "id", claims["sub"])
    if user is None:
        raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
    if db.execute("SELECT 1 FROM supabase_session WHERE id = ?", (claims["session_id"],)).fetchone() is None:
        raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
    if user.is_banned(auth.now()):
        raise AuthError(403, "user_banned", "User is banned")
    return user, claims["session_id"]


def end(db: sqlite3.Connection, user_id: str, *, scope: str, session_id: str = "") -> None:
    """End sessions: `global` all of the user's, `local` this one, `others` all but this one."""
    condition = {"global": "", "local": " AND id = :session", "others": " AND id != :session"}[scope]
    values = {"user": user_id, "session": session_id}
    db.execute(f"DELETE FROM supabase_session WHERE user_id = :user{condition}", values)


def _response(auth: Auth, db: sqlite3.Connection, user: User, session_id: str, refresh_token: str) -> dict[str, Any]:
    query = "SELECT method, authenticated_at FROM supabase_session WHERE id = ?"
    session = db.execute(query, (session_id,)).fetchone()
    token, expires_at = auth.signer.access_token(user, session_id, session["method"], session["authenticated_at"])
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": LIFETIME_SECONDS,
        "expires_at": expires_at,
        "refresh_token": refresh_token,
        "user": user.json(),
    }


def _just_refreshed(session: sqlite3.Row, now: datetime) -> bool:
    return now - users.parse_time(session["refreshed_at"]) < REUSE_INTERVAL


def _new_refresh_token(db: sqlite3.Connection, session_id: str, counter: int) -> str:
    token = secrets.token_urlsafe(24)
    db.execute("INSERT INTO supabase_refresh_token VALUES (?, ?, ?)", (token, session_id, counter))
    return token
