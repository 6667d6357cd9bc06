"""Sign-in with Google: /authorize leads to the provider, /callback back to the app with a code for its verifier."""

from __future__ import annotations

import secrets
import sqlite3
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from emulators.supabase import google, mail, sessions, users
from emulators.supabase.errors import OAUTH_ERRORS, AuthError, OAuthError, invalid
from emulators.supabase.login import FLOW_LIFETIME
from emulators.supabase.server import Auth
from emulators.supabase.users import User


async def authorize(auth: Auth, request: Request) -> Response:
    """GET /authorize?provider=google&redirect_to&code_challenge&code_challenge_method."""
    query = dict(request.query_params)
    if query.get("provider", "").lower() != "google":
        raise invalid("Unsupported provider: provider is not enabled")
    challenge = mail.Challenge.parse(query)
    target, flow_id = auth.redirect(query.get("redirect_to")), str(uuid.uuid4())
    columns = "id, method, auth_code, code_challenge, code_challenge_method, redirect_to, created_at"
    values = (
        flow_id, "oauth", str(uuid.uuid4()) if challenge else None, challenge.value if challenge else None,
        challenge.method if challenge else None, target, users.format_time(auth.now()),
    )  # fmt: skip
    with auth.world.store.transaction() as db:
        db.execute(f"INSERT INTO supabase_flow ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return RedirectResponse(f"{auth.url}/_emulator/google?{urlencode({'state': flow_id})}", 302)


async def callback(auth: Auth, request: Request) -> Response:
    """GET /callback?state&code, or &error when the visitor cancelled."""
    target = auth.site_url
    try:
        with auth.world.store.transaction() as db:
            flow = _flow(auth, db, request.query_params.get("state", ""))
            target = flow["redirect_to"]
            return RedirectResponse(_finish(auth, db, flow, dict(request.query_params)), 302)
    except (AuthError, OAuthError) as error:
        return RedirectResponse(_with_error(target, error), 302)


def _flow(auth: Auth, db: sqlite3.Connection, state: str) -> sqlite3.Row:
    if not state:
        raise AuthError(400, "bad_oauth_callback", "OAuth state parameter missing")
    flow: sqlite3.Row | None = db.execute(
        "SELECT * FROM supabase_flow WHERE id = ? AND method = 'oauth'", (state,)
    ).fetchone()
    if flow is None:
        raise AuthError(400, "bad_oauth_state", "OAuth state not found or expired")
    if auth.now() > users.parse_time(flow["created_at"]) + FLOW_LIFETIME:
        raise AuthError(400, "bad_oauth_state", "OAuth state has expired")
    if flow["user_id"] is not None:
        raise AuthError(400, "flow_state_already_used", "State has already been used")
    return flow


def _finish(auth: Auth, db: sqlite3.Connection, flow: sqlite3.Row, query: dict[str, str]) -> str:
    """Sign the visitor in and return the address to go to."""
    if query.get("error"):
        raise OAuthError(query["error"], query.get("error_description", ""))
    if not query.get("code"):
        raise AuthError(400, "bad_oauth_callback", "OAuth callback with missing authorization code missing")
    user = _user(auth, db, google.exchange(db, query["code"]))
    provider_token = "ya29." + secrets.token_urlsafe(24)
    if flow["auth_code"]:
        update = "UPDATE supabase_flow SET user_id = ?, provider_token = ? WHERE id = ?"
        db.execute(update, (user.id, provider_token, flow["id"]))
        return _with_query(flow["redirect_to"], {"code": flow["auth_code"]})
    session = sessions.issue(auth, db, user, "oauth")
    db.execute("DELETE FROM supabase_flow WHERE id = ?", (flow["id"],))
    names = ("access_token", "expires_at", "expires_in", "refresh_token", "token_type")
    fragment = {name: str(session[name]) for name in names} | {"provider_token": provider_token, "sb": ""}
    return str(urlunsplit(urlsplit(flow["redirect_to"])._replace(fragment=urlencode(fragment))))


def _user(auth: Auth, db: sqlite3.Connection, claims: dict[str, Any]) -> User:
    """The user with this Google account: known, or linked by the verified address, or new."""
    now = auth.now()
    user = users.by_identity(db, "google", claims["sub"])
    if user is not None:
        identity = user.identity("google")
        assert identity is not None  # it is how the user was found
        identity.data, identity.updated_at = claims, users.format_time(now)
    else:
        user = users.find(db, "email", claims["email"]) or _empty_user(claims["email"], users.format_time(now))
        user.link("google", claims["sub"], claims, now)
    if user.is_banned(now):
        raise AuthError(403, "user_banned", "User is banned")
    if user.email_confirmed_at is None:
        # Someone else may have signed up with this address: their password must not open the account of its owner.
        user.password, user.user_metadata = None, {}
        user.identities = [identity for identity in user.identities if identity.provider == "google"]
        user.confirm(now)
    user.user_metadata.update(claims)
    user.list_providers()
    return users.save(db, user, now)


def _empty_user(email: str, at: str) -> User:
    return User(email, at, at)


def _with_query(target: str, values: dict[str, str]) -> str:
    parts = urlsplit(target)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *values.items()])))


def _with_error(target: str, error: AuthError | OAuthError) -> str:
    """The app learns of an error by query and, for older clients, by fragment."""
    if isinstance(error, OAuthError):
        values = {"error": error.error, "error_description": error.description}
    else:
        denied = error.code in ("signup_disabled", "user_banned", "provider_email_needs_verification")
        name = "access_denied" if denied else OAUTH_ERRORS.get(error.status, "server_error")
        values = {"error": name, "error_code": error.code, "error_description": error.message}
    fragment = urlencode({name: value for name, value in values.items() if value} | {"sb": ""})
    return urlunsplit(urlsplit(_with_query(target, values))._replace(fragment=fragment))
