"""POST /token in its three grants, and POST /logout."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulators.supabase import passwords, sessions, users
from emulators.supabase.errors import AuthError, invalid
from emulators.supabase.server import Auth, parameters, text

FLOW_LIFETIME = timedelta(minutes=5)
"""Of a PKCE flow, counted from the request that started it."""


async def token(auth: Auth, request: Request) -> Response:
    """POST /token?grant_type=password|refresh_token|pkce."""
    grants = {"password": _password, "refresh_token": _refresh, "pkce": _pkce}
    grant = grants.get(request.query_params.get("grant_type", ""))
    if grant is None:
        raise AuthError(400, "invalid_credentials", "unsupported_grant_type")
    return await grant(auth, request)


async def logout(auth: Auth, request: Request) -> Response:
    """POST /logout?scope=global|local|others."""
    with auth.world.store.transaction() as db:
        user, session_id = sessions.signed_in(auth, db, request)
        scope = request.query_params.get("scope") or "global"
        if scope not in ("global", "local", "others"):
            raise invalid(f'Unsupported logout scope "{scope}"')
        sessions.end(db, user.id, scope=scope, session_id=session_id)
    return Response(status_code=204)


async def _password(auth: Auth, request: Request) -> Response:
    body = await parameters(request)
    if text(body, "phone"):
        raise AuthError(422, "phone_provider_disabled", "Phone logins are disabled")
    if not text(body, "email"):
        raise invalid("missing email or phone")
    with auth.world.store.transaction() as db:
        user = users.find(db, "email", text(body, "email").lower())
    wrong = AuthError(400, "invalid_credentials", "Invalid login credentials")
    if user is None or not user.password:
        raise wrong
    if user.is_banned(auth.now()):
        raise AuthError(400, "user_banned", "User is banned")
    if not await passwords.matches(text(body, "password"), user.password):
        raise wrong
    with auth.world.store.transaction() as db:
        current = users.find(db, "id", user.id)
        if current is None or current.password != user.password:  # changed while the hash was computed
            raise wrong
        if not current.email_confirmed_at:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return JSONResponse(sessions.issue(auth, db, current, "password"))


async def _refresh(auth: Auth, request: Request) -> Response:
    body = await parameters(request)
    with auth.world.store.transaction() as db:
        answer = sessions.refresh(auth, db, text(body, "refresh_token"))
    if isinstance(answer, AuthError):
        raise answer
    return JSONResponse(answer)


async def _pkce(auth: Auth, request: Request) -> Response:
    body = await parameters(request)
    code, verifier = text(body, "auth_code"), text(body, "code_verifier")
    if not code or not verifier:
        raise invalid("invalid request: both auth code and code verifier should be non-empty")
    with auth.world.store.transaction() as db:
        flow = db.execute("SELECT * FROM supabase_flow WHERE auth_code = ?", (code,)).fetchone()
        user = users.find(db, "id", flow["user_id"]) if flow else None
        if user is None:
            raise AuthError(404, "flow_state_not_found", "invalid flow state, no valid flow state found")
        if auth.now() > users.parse_time(flow["created_at"]) + FLOW_LIFETIME:
            raise AuthError(422, "flow_state_expired", "invalid flow state, flow state has expired")
        _check_verifier(flow, verifier)
        db.execute("DELETE FROM supabase_flow WHERE id = ?", (flow["id"],))
        answer = sessions.issue(auth, db, user, flow["method"])
    if flow["provider_token"]:
        answer["provider_token"] = flow["provider_token"]
    return JSONResponse(answer)


def _check_verifier(flow: sqlite3.Row, verifier: str) -> None:
    digest = hashlib.sha256(verifier.encode()).digest()
    hashed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    expected = hashed if flow["code_challenge_method"] == "s256" else verifier
    if not hmac.compare_digest(expected.encode(), flow["code_challenge"].encode()):
        message = "code challenge does not match previously saved code verifier"
        raise AuthError(400, "bad_code_verifier", message)
