"""A person's first and later sign-ins: the profile, its account, and what becomes of the visitor they were before."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, delete, select, update

from chatapp.accounts import sessions
from chatapp.clients.supabase import AuthTokens
from chatapp.db import Database
from chatapp.ids import AccountId
from chatapp.models import Account, Figure, Message, Profile, Thread, Turn


def account_of(
    session: Session, db: Database, tokens: AuthTokens, visitor_account_id: str | None, now: datetime
) -> AccountId:
    """The account of the person in `tokens`, in the caller's transaction; profile and account are made if need be.

    At the first sign-in the visitor's account becomes the person's: its threads and counts stay where they are. Where
    the person has an account already, the visitor's threads move to it. Safe when several tabs do this at once: the
    visitor's account is locked first, and of two new profiles the second insert waits for the first and gives way.
    """
    visitor = _lock_visitor(session, visitor_account_id)
    profile = session.get(Profile, tokens.user_id) or _new_profile(session, db, tokens, visitor, now)
    if profile.email != tokens.email:
        profile.email = tokens.email
    if tokens.name and not profile.name:
        profile.name = tokens.name
    if visitor is not None:
        if profile.account_id == visitor.id:
            visitor.kind = "person"
        else:
            _move(session, visitor, profile.account_id)
        sessions.revoke_visitors(session, visitor.id, now)
    session.flush()
    return AccountId(profile.account_id)


def _lock_visitor(session: Session, account_id: str | None) -> Account | None:
    """The visitor's account, unless another tab has just made it a person's or merged it."""
    if account_id is None:
        return None
    account = session.exec(select(Account).where(Account.id == account_id).with_for_update()).one()
    return account if account.kind == "visitor" and account.merged_into is None else None


def _new_profile(
    session: Session, db: Database, tokens: AuthTokens, visitor: Account | None, now: datetime
) -> Profile:
    """Insert a profile on the visitor's account or on a fresh one, or find the one that another tab has just made."""
    account = visitor or Account(kind="person", created_at=now)
    if visitor is None:
        session.add(account)
        session.flush()
    session.execute(
        db.insert(Profile)
        .values(id=tokens.user_id, account_id=account.id, email=tokens.email, name=tokens.name, created_at=now)
        .on_conflict_do_nothing(index_elements=["id"])
    )
    profile = session.exec(select(Profile).where(Profile.id == tokens.user_id)).one()
    if visitor is None and profile.account_id != account.id:
        session.exec(delete(Account).where(col(Account.id) == account.id))
        session.expunge(account)
    return profile


def _move(session: Session, visitor: Account, account_id: str) -> None:
    """Give the visitor's chats to the account.

    The ledger never changes, so usage events, holds and the balance stay with the visitor's account, which names the
    one that took over. An answer that is still being written goes on, at the visitor account's expense.
    """
    for table in (Thread, Message, Figure, Turn):
        column = col(table.account_id)
        session.exec(update(table).where(column == visitor.id).values(account_id=account_id))
    visitor.merged_into = account_id
