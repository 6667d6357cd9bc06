"""Who asks: accounts, the people who sign in to them, their sessions, and how often something was tried."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from chatapp.db import UtcDateTime
from chatapp.ids import new_id
from chatapp.models.columns import account_column, created_column, text_column, time_column


class Account(SQLModel, table=True):
    """The billed party. A person today, a team later; a visitor has one too, without a profile.

    Attributes:
        kind: `visitor` | `person` | `team`. A visitor's account becomes the person's at sign-up.
        merged_into: the account that took over this one's threads, when a visitor signed in to an existing account.
    """

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    kind: str = Field(default="visitor", max_length=16)
    merged_into: str | None = Field(default=None, max_length=36)
    created_at: datetime = created_column()


class Profile(SQLModel, table=True):
    """A person who signs in. Its id is the `sub` of Supabase's token, never anything the person can write."""

    id: str = Field(primary_key=True, max_length=36)
    account_id: str = account_column()
    email: str = Field(max_length=320, index=True)
    name: str = Field(default="", max_length=200)
    created_at: datetime = created_column()


class ServerSession(SQLModel, table=True):
    """One browser's session. The browser holds a random token; only its SHA-256 is here.

    Attributes:
        profile_id: None for a visitor.
        refresh_token: Supabase's, encrypted with SECRET_KEY.
    """

    __tablename__ = "server_session"

    token_hash: str = Field(primary_key=True, max_length=64)
    account_id: str = account_column()
    profile_id: str | None = Field(default=None, foreign_key="profile.id", index=True, max_length=36)
    supabase_session_id: str | None = Field(default=None, max_length=64)
    refresh_token: str = text_column()
    user_agent: str = Field(default="", max_length=300)
    created_at: datetime = created_column()
    idle_expires_at: datetime = time_column()
    expires_at: datetime = time_column()
    revoked_at: datetime | None = time_column(nullable=True)


class Throttle(SQLModel, table=True):
    """How often a key (an address, an e-mail's hash) did something in a window."""

    key: str = Field(primary_key=True, max_length=200)
    window_start: datetime = Field(sa_column=Column(UtcDateTime(), primary_key=True))
    count: int = 0
