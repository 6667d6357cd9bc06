"""What the links in mails are exchanged for: a confirmed address, a session, or the right to choose a new password."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias, cast, get_args

from chatapp import mail
from chatapp.accounts import forms
from chatapp.accounts.errors import AccountError
from chatapp.accounts.sealing import seal, unseal
from chatapp.accounts.sign_in import (
    AccountServices,
    Browser,
    SignedIn,
    count,
    is_mail_rate,
    open_session,
    refusals,
)
from chatapp.clients.supabase import AuthTokens, MailKind
from chatapp.db import now

RECOVERY_SECONDS = 15 * 60
"""How long somebody may take to choose a new password after the link in the mail."""
RENEWED_SIGN_UP = "renewed_signup"
"""The kind of link in a sign-up's second and later mails. An unconfirmed account keeps the first password that anyone
has given it, so whoever signs up again may be confirming a password that a stranger chose: they choose one anew."""
_TOKEN_HASH = re.compile(r"[A-Za-z0-9_-]{16,200}")


@dataclass(frozen=True)
class Recovery:
    """The right to choose a new password, sealed, for a cookie of RECOVERY_SECONDS."""

    sealed: str


class NewPasswordRefused(AccountError):
    """The new password was refused after the right was used: `recovery` renews it for another try."""

    def __init__(self, error: AccountError, recovery: Recovery) -> None:
        super().__init__(error.code, field=error.field)
        self.recovery = recovery


Confirmed: TypeAlias = SignedIn | Recovery | None
"""None: the first of the two agreements that a change of address needs."""


async def confirm(services: AccountServices, browser: Browser, token_hash: str, kind: str) -> Confirmed:
    """Exchange what a mail's link carries. It works once: of two at the same time, one gets `otp_expired`."""
    renewed = kind == RENEWED_SIGN_UP
    kind = "signup" if renewed else kind
    if kind not in get_args(MailKind) or not _TOKEN_HASH.fullmatch(token_hash):
        raise AccountError("link_invalid")
    await count(services, "confirm", browser)
    with refusals():
        tokens = await services.supabase.verify(token_hash, cast("MailKind", kind))
    if tokens is None:
        return None
    if kind == "recovery" or renewed:
        return _recovery(services, tokens, may_keep=renewed)
    return await open_session(services, browser, tokens)


async def resend(services: AccountServices, browser: Browser, email: str, next_path: str) -> str:
    """Send the confirming mail again, if one is due, and return the address; nothing tells whether one is."""
    email = forms.email_address(email)
    await count(services, "resend", browser, email)
    try:
        with refusals():
            await services.supabase.resend(email, services.settings.public_url + next_path)
    except AccountError as error:
        _hide(error)
    return email


async def recover(services: AccountServices, browser: Browser, email: str) -> str:
    """Send the mail for a forgotten password, if there is an account; nothing tells whether there is."""
    email = forms.email_address(email)
    await count(services, "recover", browser, email)
    try:
        with refusals():
            await services.supabase.recover(email, services.settings.public_url + "/")
    except AccountError as error:
        _hide(error)
    return email


async def new_password(services: AccountServices, browser: Browser, sealed: str | None, password: str) -> SignedIn:
    """Set the password that was chosen after a recovery's link; ends all other sessions and opens a new one.

    Raises:
        AccountError: `recovery_expired`, or a password that is refused before Supabase is asked.
        NewPasswordRefused: Supabase refuses it, or fails after the right was used.
    """
    opened = unseal(services.settings, sealed or "", now(), lifetime_seconds=RECOVERY_SECONDS)
    if opened is None:
        raise AccountError("recovery_expired")
    right: dict[str, Any] = json.loads(opened)
    password = forms.new_password(password, right["email"])
    await count(services, "new-password", browser)
    tokens = await _use(services, right["refresh_token"])
    try:
        with refusals():
            await services.supabase.update_password(tokens, password)
    except AccountError as error:
        if not (error.code == "same_password" and right["may_keep"]):
            raise NewPasswordRefused(error, _recovery(services, tokens, may_keep=right["may_keep"])) from error
    signed_in = await open_session(services, browser, tokens, end_others=True)
    await asyncio.to_thread(_tell_owner, services, tokens, signed_in)
    return signed_in


async def _use(services: AccountServices, refresh_token: str) -> AuthTokens:
    """Tokens for the refresh token in the cookie; it works once, within Supabase's few seconds of grace."""
    try:
        with refusals():
            return await services.supabase.refresh(refresh_token)
    except AccountError as error:
        if error.code == "unavailable":
            raise
        raise AccountError("recovery_expired") from error


def _recovery(services: AccountServices, tokens: AuthTokens, *, may_keep: bool) -> Recovery:
    """The right to choose a password. `may_keep`: the present one is accepted, too, from whoever knows it."""
    right = {"refresh_token": tokens.refresh_token, "email": tokens.email, "may_keep": may_keep}
    return Recovery(seal(services.settings, json.dumps(right), now()))


def _hide(error: AccountError) -> None:
    """Raise what concerns everyone, an outage; keep quiet about what concerns one address."""
    if error.code == "unavailable" and not is_mail_rate(error):
        raise error


def _tell_owner(services: AccountServices, tokens: AuthTokens, signed_in: SignedIn) -> None:
    with services.db.session() as session:
        mail.enqueue(session, tokens.email, mail.templates.password_changed(services.settings),
                     f"password-changed:{tokens.session_id}", signed_in.account_id)
