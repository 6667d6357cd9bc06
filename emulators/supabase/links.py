"""/admin/generate_link: a link for a mail that someone else sends."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulators.supabase import account, admin, mail, passwords, users
from emulators.supabase.errors import AuthError, invalid
from emulators.supabase.server import Auth, address, mapping, parameters, text
from emulators.supabase.users import User

_KINDS = ("signup", "invite", "magiclink", "recovery")


async def generate_link(auth: Auth, request: Request) -> Response:
    """POST /admin/generate_link {type, email, password?, data?}: nothing is sent, the link is in the answer.

    The two types for an e-mail change are refused: the emulator only changes addresses on their owner's request.
    """
    admin.require_admin(auth, request)
    body = await parameters(request)
    kind, email = text(body, "type"), address(text(body, "email"))
    if kind not in _KINDS:
        raise invalid(f"Invalid email action link type requested: {kind}")
    with auth.world.store.transaction() as db:
        user = users.find(db, "email", email)
    if user is None and kind == "recovery":
        raise AuthError(404, "user_not_found", "User with this email not found")
    kind = "signup" if user is None and kind == "magiclink" else kind
    if user and user.email_confirmed_at and kind in ("signup", "invite"):
        raise AuthError(422, "email_exists", "A user with this email address has already been registered")
    otp, now = f"{secrets.randbelow(10**6):06}", users.format_time(auth.now())
    token = mail.token_hash(email, otp)
    user = user or await _new(auth, kind, email, text(body, "password"))
    account.merge(user.user_metadata, mapping(body, "data"))
    if kind in ("magiclink", "recovery"):
        user.recovery_token, user.recovery_sent_at = token, now
    else:
        user.confirmation_token, user.confirmation_sent_at = token, now
        user.invited_at = now if kind == "invite" else user.invited_at
    with auth.world.store.transaction() as db:
        users.save(db, user, auth.now())
    target = auth.redirect(text(body, "redirect_to") or request.query_params.get("redirect_to"))
    query = urlencode({"token": token, "type": kind, "redirect_to": target})
    link = {
        "action_link": f"{auth.url}/verify?{query}",
        "email_otp": otp,
        "hashed_token": token,
        "verification_type": kind,
        "redirect_to": target,
    }
    return JSONResponse({**user.json(), **link})


async def _new(auth: Auth, kind: str, email: str, password: str) -> User:
    """The account that the link will confirm. Only a sign-up brings a password."""
    if kind == "signup" and password:
        passwords.check_strength(password)
    hashed = await passwords.hashed(password or secrets.token_urlsafe(32)) if kind == "signup" else None
    return users.new(email, hashed, {}, auth.now())
