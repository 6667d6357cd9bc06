"""Users and their identities: rows, their JSON, and what the other modules do to them."""

from __future__ import annotations

import json
import sqlite3
import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

_JSON_COLUMNS = ("app_metadata", "user_metadata")
_OPTIONAL_IN_JSON = (
    "email_confirmed_at", "invited_at", "confirmation_sent_at", "recovery_sent_at", "new_email", "email_change_sent_at",
    "last_sign_in_at", "banned_until", "deleted_at",
)  # fmt: skip


@dataclass
class Identity:
    """One way to sign in: `email`, or `google` with the subject that Google gave."""

    user_id: str
    provider: str
    provider_id: str
    data: dict[str, Any]
    created_at: str
    updated_at: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def json(self) -> dict[str, Any]:
        """As the API shows it: `id` is the provider's subject, `identity_id` the row."""
        return {
            "identity_id": self.id,
            "id": self.provider_id,
            "user_id": self.user_id,
            "identity_data": self.data,
            "provider": self.provider,
            "last_sign_in_at": self.updated_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "email": self.data["email"],
        }


@dataclass
class User:
    """One row of supabase_user and its identities. Times are ISO 8601 in UTC, as the API shows them."""

    email: str
    created_at: str
    updated_at: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    role: str = "authenticated"
    password: str | None = None
    email_confirmed_at: str | None = None
    invited_at: str | None = None
    confirmation_token: str | None = None
    confirmation_sent_at: str | None = None
    recovery_token: str | None = None
    recovery_sent_at: str | None = None
    new_email: str | None = None
    email_change_token_current: str | None = None
    email_change_token_new: str | None = None
    email_change_sent_at: str | None = None
    email_change_confirmations: int = 0
    last_sign_in_at: str | None = None
    app_metadata: dict[str, Any] = field(default_factory=dict)
    user_metadata: dict[str, Any] = field(default_factory=dict)
    banned_until: str | None = None
    deleted_at: str | None = None
    identities: list[Identity] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As the API and the Send Email Hook show it; what is unset is left out, as the server does."""
        body: dict[str, Any] = {
            "id": self.id,
            "aud": "authenticated",
            "role": self.role,
            "email": self.email,
            "phone": "",
            "app_metadata": self.app_metadata,
            "user_metadata": self.user_metadata,
            "identities": [identity.json() for identity in self.identities],
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "is_anonymous": False,
        }
        body.update({name: value for name in _OPTIONAL_IN_JSON if (value := getattr(self, name))})
        if self.email_confirmed_at:
            body["confirmed_at"] = self.email_confirmed_at
        return body

    def is_banned(self, now: datetime) -> bool:
        """Whether a ban is in force at `now`."""
        return self.banned_until is not None and parse_time(self.banned_until) > now

    def confirm(self, now: datetime) -> None:
        """Mark the e-mail address as confirmed, and let no other link that was sent before work any longer."""
        self.email_confirmed_at = format_time(now)
        self.user_metadata["email_verified"] = True
        self.clear_tokens()

    def clear_tokens(self) -> None:
        """Forget all tokens that were sent by mail. A token works once, and none outlives a change of password."""
        self.confirmation_token = self.recovery_token = None
        self.email_change_token_current = self.email_change_token_new = None

    def identity(self, provider: str) -> Identity | None:
        """The identity at this provider, if there is one."""
        return next((identity for identity in self.identities if identity.provider == provider), None)

    def link(self, provider: str, provider_id: str, data: dict[str, Any], now: datetime) -> Identity:
        """Add an identity and list its provider in `app_metadata`; the first provider stays the main one."""
        at = format_time(now)
        identity = Identity(self.id, provider, provider_id, data, at, at)
        self.identities.append(identity)
        self.list_providers()
        return identity

    def list_providers(self) -> None:
        """Bring `app_metadata.provider` and `.providers` in line with the identities."""
        providers = [identity.provider for identity in self.identities]
        self.app_metadata["providers"] = providers
        if providers:
            self.app_metadata["provider"] = providers[0]


_COLUMNS = [column.name for column in fields(User) if column.name != "identities"]


def new(email: str, password: str | None, data: dict[str, Any], now: datetime) -> User:
    """An unsaved, unconfirmed user with an `email` identity. `data` is the user's own metadata."""
    at = format_time(now)
    user = User(email, at, at, password=password)
    facts = {"email": email, "email_verified": False, "phone_verified": False, "sub": user.id}
    user.link("email", user.id, {**data, **facts}, now)
    user.user_metadata = {**data, **facts}
    return user


def find(db: sqlite3.Connection, column: str, value: str | None) -> User | None:
    """The user whose `column` (one of User's) has this value; None for an empty value."""
    if not value:
        return None
    assert column in _COLUMNS
    row = db.execute(f"SELECT * FROM supabase_user WHERE {column} = ?", (value,)).fetchone()
    return _load(db, row) if row else None


def by_identity(db: sqlite3.Connection, provider: str, provider_id: str) -> User | None:
    """The user with this identity."""
    query = "SELECT user_id FROM supabase_identity WHERE provider = ? AND provider_id = ?"
    row = db.execute(query, (provider, provider_id)).fetchone()
    return find(db, "id", row["user_id"]) if row else None


def page(db: sqlite3.Connection, *, limit: int, offset: int) -> tuple[list[User], int]:
    """Users, newest first, and how many there are in all."""
    query = "SELECT * FROM supabase_user ORDER BY created_at DESC, id LIMIT ? OFFSET ?"
    rows = db.execute(query, (limit, offset)).fetchall()
    return [_load(db, row) for row in rows], db.execute("SELECT count(*) FROM supabase_user").fetchone()[0]


def save(db: sqlite3.Connection, user: User, now: datetime) -> User:
    """Write the user and its identities. Raises sqlite3.IntegrityError if the address belongs to another user."""
    user.updated_at = format_time(now)
    values = {name: getattr(user, name) for name in _COLUMNS}
    values.update({name: json.dumps(values[name]) for name in _JSON_COLUMNS})
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
    db.execute(
        f"INSERT INTO supabase_user ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"
        f" ON CONFLICT (id) DO UPDATE SET {updates}",
        values,
    )
    db.execute("DELETE FROM supabase_identity WHERE user_id = ?", (user.id,))
    for identity in user.identities:
        db.execute(
            "INSERT INTO supabase_identity (id, user_id, provider, provider_id, data, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (identity.id, user.id, identity.provider, identity.provider_id, json.dumps(identity.data),
             identity.created_at, identity.updated_at),
        )  # fmt: skip
    return user


def format_time(moment: datetime) -> str:
    """ISO 8601 with a trailing Z, as Go prints UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The inverse of `format_time`."""
    return datetime.fromisoformat(text)


def _load(db: sqlite3.Connection, row: sqlite3.Row) -> User:
    values = {name: row[name] for name in _COLUMNS}
    values.update({name: json.loads(values[name]) for name in _JSON_COLUMNS})
    user = User(**values)
    query = "SELECT * FROM supabase_identity WHERE user_id = ? ORDER BY created_at, id"
    for found in db.execute(query, (user.id,)):
        user.identities.append(
            Identity(
                found["user_id"], found["provider"], found["provider_id"], json.loads(found["data"]),
                found["created_at"], found["updated_at"], found["id"],
            )
        )  # fmt: skip
    return user
