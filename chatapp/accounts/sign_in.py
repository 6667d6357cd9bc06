"""Signing up, in and out: what a form's fields become, in the order in which it happens.

Nothing here holds a transaction across a call of Supabase. What fails raises AccountError with the text to show.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlmodel import Session as DbSession
from sqlmodel import select

from chatapp import mail
from chatapp.accounts import forms, joining, sessions, throttle
from chatapp.accounts.errors import AccountError
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.supabase import MAIL_RATE_LIMITED, AuthRefused, AuthTokens, Supabase
from chatapp.db import Database, now
from chatapp.ids import AccountId
from chatapp.models import Account, ServerSession
from chatapp.settings import Settings

log = logging.getLogger(__name__)

_CODES = {
    "invalid_credentials": ("invalid_credentials", "password"),
    "email_not_confirmed": ("email_not_confirmed", "email"),
    "user_banned": ("user_banned", ""),
    "signup_disabled": ("signup_disabled", ""),
    "email_provider_disabled": ("signup_disabled", ""),
    "email_address_invalid": ("email_refused", "email"),
    "email_address_not_authorized": ("email_refused", "email"),
    "validation_failed": ("email_invalid", "email"),
    "weak_password": ("weak_password", "password"),
    "same_password": ("same_password", "password"),
    "otp_expired": ("otp_expired", ""),
    "email_exists": ("email_exists", "email"),
    "user_already_exists": ("email_exists", "email"),
}
"""Supabase's error codes, as our code and form field."""


class AccountServices(Protocol):
    """What the use cases need of `chatapp.services.Services`."""

    @property
    def settings(self) -> Settings:
        """The installation's settings."""

    @property
    def db(self) -> Database:
        """The database."""

    @property
    def supabase(self) -> Supabase:
        """The Auth server."""


@dataclass(frozen=True)
class Browser:
    """Where a request comes from.

    Attributes:
        address: the client's IP address.
        cookie_header: as received, None if there was none.
    """

    address: str
    cookie_header: str | None
    user_agent: str = ""


@dataclass(frozen=True)
class SignedIn:
    """A session was opened; `token` goes into the cookie and nowhere else."""

    token: str
    account_id: AccountId


async def sign_in(services: AccountServices, browser: Browser, email: str, password: str) -> SignedIn:
    """Open a session for an address and its password."""
    email, password = forms.email_address(email), forms.known_password(password)
    await count(services, "sign-in", browser, email)
    with refusals():
        tokens = await services.supabase.sign_in(email, password)
    return await open_session(services, browser, tokens)


async def sign_up(
    services: AccountServices, browser: Browser, email: str, password: str, name: str, next_path: str
) -> SignedIn | None:
    """Ask for an account. None: look into the mail. The answer is the same whether or not the address is known.

    Who has an account already gets a mail that says so. A project that confirms no addresses signs in at once.
    """
    email = forms.email_address(email)
    password = forms.new_password(password, email)
    await count(services, "sign-up", browser, email)
    redirect_to = services.settings.public_url + next_path
    try:
        with refusals():
            done = await services.supabase.sign_up(email, password, forms.display_name(name), redirect_to)
    except AccountError as error:
        if is_mail_rate(error):
            return None
        raise
    if done.already_registered:
        await asyncio.to_thread(_tell_owner, services, email)
    return await open_session(services, browser, done.tokens) if done.tokens else None


async def sign_out(services: AccountServices, browser: Browser, *, everywhere: bool = False) -> str | None:
    """End this browser's session here, or all of the person's. Returns the refresh token for `end_at_supabase`."""
    return await asyncio.to_thread(_sign_out, services, browser, everywhere)


async def end_at_supabase(services: AccountServices, refresh_token: str, *, everywhere: bool = False) -> None:
    """End the session at Supabase, after the person has been answered: for them it is over already.

    An outage is logged and left at that: nobody holds the refresh token any longer.
    """
    try:
        await services.supabase.sign_out(refresh_token, "global" if everywhere else "local")
    except (Unavailable, Rejected) as error:
        log.warning("A session could not be ended at Supabase: %s", error)


def start_visitor(db: Database, settings: Settings, moment: datetime, user_agent: str = "") -> SignedIn:
    """Make an account that nobody has signed in to, and a session for it."""
    with db.session() as session:
        account = Account(kind="visitor", created_at=moment)
        session.add(account)
        session.flush()
        token = sessions.open_session(session, settings, account.id, moment, user_agent=user_agent)
        return SignedIn(token, AccountId(account.id))


async def open_session(
    services: AccountServices, browser: Browser, tokens: AuthTokens, *, end_others: bool = False
) -> SignedIn:
    """Give the person a new session in place of the browser's old one; makes profile and account at the first time."""
    if not tokens.confirmed:
        raise AccountError("email_not_confirmed", field="email")
    return await asyncio.to_thread(_open_session, services, browser, tokens, end_others)


async def count(services: AccountServices, action: str, browser: Browser, email: str | None = None) -> None:
    """Count a try; raises Throttled."""
    await asyncio.to_thread(
        throttle.check, services.db, services.settings, action, browser.address, now(), email=email
    )


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what Supabase's client raises into what a person reads; what is not theirs to mend is logged."""
    try:
        yield
    except AuthRefused as error:
        if error.code == MAIL_RATE_LIMITED:
            raise AccountError("unavailable") from error
        if error.code not in _CODES:
            log.error("Supabase refused with %s %r: %s", error.status, error.code, error)
        code, field = _CODES.get(error.code, ("unexpected", ""))
        raise AccountError(code, field=field) from error
    except Unavailable as error:
        log.warning("Supabase is unavailable: %s", error)
        raise AccountError("unavailable") from error
    except Rejected as error:
        log.error("Supabase's tokens do not verify; check SUPABASE_URL: %s", error)
        raise AccountError("unexpected") from error


def is_mail_rate(error: AccountError) -> bool:
    """Whether a mail went to this address a moment ago: no news to its owner, and none of anyone else's business."""
    cause = error.__cause__
    return isinstance(cause, AuthRefused) and cause.code == MAIL_RATE_LIMITED


def _open_session(services: AccountServices, browser: Browser, tokens: AuthTokens, end_others: bool) -> SignedIn:
    moment, settings = now(), services.settings
    old = sessions.hash_in(browser.cookie_header, settings)
    with services.db.session() as session:
        visitor = _visitor_account(session, old, moment)
        account_id = joining.account_of(session, services.db, tokens, visitor, moment)
        if old is not None:
            sessions.revoke(session, settings, old, moment)
        if end_others:
            sessions.revoke_all_of_profile(session, tokens.user_id, moment)
        token = sessions.open_session(session, settings, account_id, moment, profile_id=tokens.user_id,
                                      tokens=tokens, user_agent=browser.user_agent)
    return SignedIn(token, account_id)


def _visitor_account(session: DbSession, token_hash: str | None, moment: datetime) -> str | None:
    """The account of the visitor that this browser is, by a session that is alive."""
    if token_hash is None:
        return None
    row = session.get(ServerSession, token_hash)
    alive = row is not None and row.revoked_at is None and moment < min(row.idle_expires_at, row.expires_at)
    return row.account_id if row is not None and alive and row.profile_id is None else None


def _sign_out(services: AccountServices, browser: Browser, everywhere: bool) -> str | None:
    moment, settings = now(), services.settings
    token_hash = sessions.hash_in(browser.cookie_header, settings)
    if token_hash is None:
        return None
    with services.db.session() as session:
        query = select(ServerSession.profile_id).where(
            ServerSession.token_hash == token_hash, ServerSession.revoked_at == None)  # noqa: E711 - SQL's IS NULL
        profile_id = session.exec(query).first()
        refresh_token = sessions.revoke(session, settings, token_hash, moment)
        if everywhere and profile_id is not None:
            sessions.revoke_all_of_profile(session, profile_id, moment)
    return refresh_token


def _tell_owner(services: AccountServices, email: str) -> None:
    """Write to somebody who signed up again, at most once an hour: only the address's owner learns of the account."""
    moment, settings = now(), services.settings
    key = f"already-registered:{throttle.hashed(settings, email)}:{moment:%Y%m%d%H}"
    with services.db.session() as session:
        mail.enqueue(session, email, mail.templates.already_registered(settings), key)
