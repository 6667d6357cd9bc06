"""/verify: what the links and digits in mails are exchanged for."""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from emulators.supabase import mail, sessions, users
from emulators.supabase.errors import OAUTH_ERRORS, AuthError, invalid
from emulators.supabase.server import Auth, address, parameters, text
from emulators.supabase.users import User

ONE_OF_TWO = "Confirmation link accepted. Please proceed to confirm link sent to the other email"

_COLUMNS = {
    "signup": ("confirmation_token",),
    "invite": ("confirmation_token",),
    "recovery": ("recovery_token",),
    "magiclink": ("recovery_token",),
    "email": ("confirmation_token", "recovery_token"),
    "email_change": ("email_change_token_current", "email_change_token_new"),
}
_SENT_AT = {
    "confirmation_token": "confirmation_sent_at",
    "recovery_token": "recovery_sent_at",
    "email_change_token_current": "email_change_sent_at",
    "email_change_token_new": "email_change_sent_at",
}
_FLOW_METHODS = {"signup": "email/signup", "recovery": "recovery", "email_change": "email_change"}


async def verify_post(auth: Auth, request: Request) -> Response:
    """POST /verify {type, token_hash} or {type, email, token}: a session, or a note that one of two has agreed."""
    body = await parameters(request)
    kind, token = _token(body)
    with auth.world.store.transaction() as db:
        user = _redeem(auth, db, kind, token, by_digits="token" in body)
        if user is None:
            return JSONResponse({"msg": ONE_OF_TWO, "code": "200"})
        return JSONResponse(sessions.issue(auth, db, user, "otp"))


async def verify_get(auth: Auth, request: Request) -> Response:
    """GET /verify?token=<hash>&type&redirect_to: the same by redirect, for links that lead here directly."""
    query = request.query_params
    target = auth.redirect(query.get("redirect_to"))
    kind, token = query.get("type", ""), query.get("token", "")
    if not kind:
        raise invalid("Verify requires a verification type")
    if not token:
        raise invalid("Verify requires a token or a token hash")
    pkce = token.startswith("pkce_")
    try:
        with auth.world.store.transaction() as db:
            user = _redeem(auth, db, kind, token)
            if user is None:
                return _to(target, {"message": ONE_OF_TWO}, query=pkce, fragment=True)
            if pkce:
                return _to(target, {"code": _auth_code(db, user, kind)}, query=True, fragment=False)
            session = sessions.issue(auth, db, user, "otp")
    except AuthError as error:
        values = {"error_code": error.code, "error_description": error.message}
        if error.status in OAUTH_ERRORS:
            values = {"error": OAUTH_ERRORS[error.status], **values}
        return _to(target, values, query=pkce, fragment=True)
    names = ("access_token", "expires_at", "expires_in", "refresh_token", "token_type")
    values = {name: str(session[name]) for name in names} | {"type": kind}
    return _to(target, values, query=False, fragment=True)


def _token(body: dict[str, Any]) -> tuple[str, str]:
    """The type and the token hash that a POST asks to verify."""
    kind, token, token_hash = text(body, "type"), text(body, "token"), text(body, "token_hash")
    if not kind:
        raise invalid("Verify requires a verification type")
    if bool(token) == bool(token_hash):
        raise invalid("Verify requires either a token or a token hash")
    if token_hash:
        if text(body, "email") or text(body, "phone") or text(body, "redirect_to"):
            raise invalid("Only the token_hash and type should be provided")
        return kind, token_hash
    if not text(body, "email") or text(body, "phone"):
        raise invalid("Only an email address or phone number should be provided on verify")
    return kind, mail.token_hash(address(text(body, "email")), token)


def _redeem(auth: Auth, db: sqlite3.Connection, kind: str, token: str, *, by_digits: bool = False) -> User | None:
    """Use a token up. None: an e-mail change to which the other address must still agree."""
    if kind not in _COLUMNS:
        raise invalid("Invalid email verification type")
    message = "Token has expired or is invalid" if by_digits else "Email link is invalid or has expired"
    refused = AuthError(403, "otp_expired", message)
    tokens = (token, f"pkce_{token}") if by_digits else (token,)
    found = [(c, user) for c in _COLUMNS[kind] for value in tokens if (user := users.find(db, c, value))]
    if not found:
        raise refused
    column, user = found[0]
    if user.is_banned(auth.now()):
        raise AuthError(403, "user_banned", "User is banned")
    if mail.expired(auth, getattr(user, _SENT_AT[column])):
        raise refused
    if kind == "email_change":
        return _agree(auth, db, user, column)
    _confirm(auth, user)
    return users.save(db, user, auth.now())


def _confirm(auth: Auth, user: User) -> None:
    """Whoever holds the token reads the mailbox: that confirms the address whatever the mail was for."""
    if user.email_confirmed_at is None:
        user.confirm(auth.now())
        if identity := user.identity("email"):
            identity.data["email_verified"] = True
    user.clear_tokens()


def _agree(auth: Auth, db: sqlite3.Connection, user: User, column: str) -> User | None:
    if user.email_change_confirmations == 0:
        user.email_change_confirmations = 1
        setattr(user, column, None)
        users.save(db, user, auth.now())
        return None
    assert user.new_email is not None  # set together with the tokens
    if users.find(db, "email", user.new_email):
        raise AuthError(422, "email_exists", "A user with this email address has already been registered")
    user.email, user.new_email, user.email_change_confirmations = user.new_email, None, 0
    user.clear_tokens()
    changed = {"email": user.email, "email_verified": True}
    if identity := user.identity("email"):
        identity.data.update(changed)
    else:
        user.link("email", user.id, {**changed, "sub": user.id}, auth.now())
    if user.email_confirmed_at is None:
        user.confirm(auth.now())
    return users.save(db, user, auth.now())


def _auth_code(db: sqlite3.Connection, user: User, kind: str) -> str:
    """The code of the newest flow of this kind, which the app exchanges with its verifier."""
    query = "SELECT auth_code FROM supabase_flow WHERE user_id = ? AND method = ? ORDER BY created_at DESC"
    row = db.execute(query, (user.id, _FLOW_METHODS.get(kind, kind))).fetchone()
    if row is None:
        message = "No associated flow state found. No valid flow state found for user."
        raise AuthError(400, "flow_state_not_found", message)
    return str(row["auth_code"])


def _to(target: str, values: dict[str, str], *, query: bool, fragment: bool) -> RedirectResponse:
    """Redirect with `values` in the query, the fragment or both; `sb` marks a fragment as Supabase's."""
    parts = urlsplit(target)
    if query:
        parts = parts._replace(query=urlencode([*parse_qsl(parts.query), *values.items()]))
    if fragment:
        parts = parts._replace(fragment=urlencode({**values, "sb": ""}))
    return RedirectResponse(urlunsplit(parts), 303)
