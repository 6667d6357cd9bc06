"""Server sessions: the browser holds a random token, the database its hash and everything else.

All calls here are short and synchronous. A session is looked up at every event that matters, so that one that was
revoked elsewhere ends at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session as DbSession
from sqlmodel import col, delete, or_, select, update

from chatapp.accounts import cookies
from chatapp.accounts.cookies import Cookie
from chatapp.accounts.sealing import seal, unseal
from chatapp.clients.supabase import AuthTokens
from chatapp.db import Database
from chatapp.ids import AccountId
from chatapp.models import Profile, ServerSession
from chatapp.settings import Settings

IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=60)
SLIDE_EVERY = timedelta(minutes=5)
"""How often the idle expiry moves at most: reading a page must not write to the database."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Session:
    """Who a request comes from.

    Attributes:
        token_hash: names the session, and cannot be used as one.
        profile_id: Supabase's id of the person; None for a visitor.
        email: empty for a visitor.
        name: for display; may be empty.
    """

    token_hash: str
    account_id: AccountId
    profile_id: str | None
    email: str
    name: str

    @property
    def is_visitor(self) -> bool:
        """Whether nobody has signed in."""
        return self.profile_id is None


def current(db: Database, cookie_header: str | None, settings: Settings, now: datetime) -> Session | None:
    """The session that a Cookie header belongs to; None if there is none, or it was revoked or has expired."""
    token_hash = hash_in(cookie_header, settings)
    if token_hash is None:
        return None
    with db.reading() as session:
        found = session.exec(
            select(ServerSession, Profile)
            .join(Profile, col(Profile.id) == col(ServerSession.profile_id), isouter=True)
            .where(ServerSession.token_hash == token_hash, *_alive(now))
        ).first()
    if found is None:
        return None
    row, profile = found
    if row.idle_expires_at < now + IDLE - SLIDE_EVERY:
        _slide(db, token_hash, now)
    email, name = (profile.email, profile.name) if profile else ("", "")
    return Session(token_hash, AccountId(row.account_id), row.profile_id, email, name)


def open_session(
    session: DbSession, settings: Settings, account_id: str, now: datetime, *,
    profile_id: str | None = None, tokens: AuthTokens | None = None, user_agent: str = "",
) -> str:
    """Add a session in the caller's transaction and return its token: the only time that anyone sees it."""
    token = secrets.token_urlsafe(32)
    session.add(ServerSession(
        token_hash=_hash(token),
        account_id=account_id,
        profile_id=profile_id,
        supabase_session_id=tokens.session_id if tokens else None,
        refresh_token=seal(settings, tokens.refresh_token, now) if tokens else "",
        user_agent=user_agent[:300],
        created_at=now,
        idle_expires_at=now + IDLE,
        expires_at=now + ABSOLUTE,
    ))
    session.flush()
    return token


def revoke(session: DbSession, settings: Settings, token_hash: str, now: datetime) -> str | None:
    """End a session. Returns its refresh token, which is forgotten here; None if it had none or had ended."""
    row = session.exec(
        select(ServerSession).where(ServerSession.token_hash == token_hash).with_for_update()
    ).first()
    if row is None or row.revoked_at is not None:
        return None
    refresh_token = unseal(settings, row.refresh_token, now) if row.refresh_token else None
    row.revoked_at, row.refresh_token = now, ""
    return refresh_token


def revoke_all_of_profile(session: DbSession, profile_id: str, now: datetime, *, keep: str | None = None) -> int:
    """End all sessions of a person but the one whose token hash is `keep`; returns how many were ended."""
    query = update(ServerSession).where(col(ServerSession.profile_id) == profile_id, _not_revoked())
    if keep is not None:
        query = query.where(col(ServerSession.token_hash) != keep)
    return session.exec(query.values(revoked_at=now, refresh_token="")).rowcount


def revoke_visitors(session: DbSession, account_id: str, now: datetime) -> int:
    """End an account's sessions without a sign-in: they must not survive its becoming a person's."""
    query = update(ServerSession).where(
        col(ServerSession.account_id) == account_id, col(ServerSession.profile_id).is_(None), _not_revoked()
    )
    return session.exec(query.values(revoked_at=now)).rowcount


def of_profile(db: Database, profile_id: str, now: datetime) -> list[ServerSession]:
    """A person's sessions that are alive, the newest first, for the list on their account page."""
    with db.reading() as session:
        query = select(ServerSession).where(ServerSession.profile_id == profile_id, *_alive(now))
        return list(session.exec(query.order_by(col(ServerSession.created_at).desc())))


def sweep(session: DbSession, now: datetime) -> int:
    """Delete the rows of sessions that ended over a day ago; returns how many."""
    before = now - timedelta(days=1)
    ended = or_(*(col(column) < before for column in (
        ServerSession.revoked_at, ServerSession.idle_expires_at, ServerSession.expires_at)))
    return session.exec(delete(ServerSession).where(ended)).rowcount


def hash_in(cookie_header: str | None, settings: Settings) -> str | None:
    """The hash of the session token in a Cookie header; None if there is nothing of a token's form."""
    token = cookies.find(cookie_header, cookies.full_name(settings, cookies.SESSION))
    return _hash(token) if token and _TOKEN.fullmatch(token) else None


def cookie(token: str) -> Cookie:
    """The cookie that carries a new session; with an empty token, the one that removes it."""
    return Cookie(cookies.SESSION, token, int(ABSOLUTE.total_seconds()))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _not_revoked() -> Any:  # noqa: ANN401 - SQLAlchemy's conditions
    return col(ServerSession.revoked_at).is_(None)


def _alive(now: datetime) -> tuple[Any, ...]:
    return (_not_revoked(), col(ServerSession.idle_expires_at) > now, col(ServerSession.expires_at) > now)


def _slide(db: Database, token_hash: str, now: datetime) -> None:
    with db.session() as session:
        session.exec(
            update(ServerSession).where(col(ServerSession.token_hash) == token_hash, *_alive(now))
            .values(idle_expires_at=now + IDLE)
        )
