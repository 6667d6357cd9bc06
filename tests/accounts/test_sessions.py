"""Server sessions."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from chatapp import settings as app_settings
from chatapp.accounts import sessions
from chatapp.accounts.sign_in import start_visitor
from chatapp.clients.supabase import AuthTokens
from chatapp.db import Database
from chatapp.models import Account, Profile, ServerSession

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SETTINGS = app_settings.load({})
TOKENS = AuthTokens("access", "refresh-secret", "s-1", "p-1", "a@example.com", "Ada", confirmed=True)


def visit(db: Database, at: datetime = NOW) -> str:
    return f"session={start_visitor(db, SETTINGS, at, 'Firefox').token}"


def person(db: Database, number: int = 1) -> str:
    with db.session() as session:
        account = Account(kind="person")
        session.add(account)
        session.flush()
        session.add(Profile(id=f"p-{number}", account_id=account.id, email=f"{number}@example.com", name="Ada"))
        session.flush()
        token = sessions.open_session(session, SETTINGS, account.id, NOW, profile_id=f"p-{number}", tokens=TOKENS)
    return f"session={token}"


def hash_of(cookie: str) -> str:
    found = sessions.hash_in(cookie, SETTINGS)
    assert found is not None
    return found


def test_a_session_is_found_by_its_cookie_among_others(db: Database) -> None:
    found = sessions.current(db, f"theme=dark; {person(db)}; x", SETTINGS, NOW)
    assert found is not None
    assert (found.profile_id, found.email, found.name, found.is_visitor) == ("p-1", "1@example.com", "Ada", False)


def test_a_visitor_has_a_session_and_no_profile(db: Database) -> None:
    found = sessions.current(db, visit(db), SETTINGS, NOW)
    assert found is not None
    assert (found.profile_id, found.email, found.is_visitor) == (None, "", True)


@pytest.mark.parametrize("header", [None, "", "session=", "session", "session=" + "A" * 43, "session=a'; --", "x=1",
                                    "__Host-session=" + "A" * 43, "session=" + "A" * 5000])
def test_a_cookie_of_nobody_is_nobody(sqlite_db: Database, header: str | None) -> None:
    assert sessions.current(sqlite_db, header, SETTINGS, NOW) is None


def test_one_persons_cookie_never_opens_anothers_session(db: Database) -> None:
    cookies = [person(db, number) for number in range(1, 4)]
    found = [sessions.current(db, cookie, SETTINGS, NOW) for cookie in cookies]
    assert [session and session.profile_id for session in found] == ["p-1", "p-2", "p-3"]
    assert len({session.account_id for session in found if session}) == 3


def test_what_is_in_the_database_opens_nothing_by_itself(db: Database) -> None:
    cookie = person(db)
    token = cookie.removeprefix("session=")
    with db.reading() as session:
        row = session.exec(select(ServerSession)).one()
    assert token not in str(row.model_dump())
    assert "refresh-secret" not in str(row.model_dump())
    assert sessions.current(db, f"session={row.token_hash[:43]}", SETTINGS, NOW) is None


def test_an_idle_session_ends_after_two_weeks(db: Database) -> None:
    cookie = visit(db)
    assert sessions.current(db, cookie, SETTINGS, NOW + timedelta(days=14)) is None


def test_using_a_session_keeps_it_alive_but_not_for_ever(db: Database) -> None:
    cookie = visit(db)
    for days in range(10, 60, 10):
        assert sessions.current(db, cookie, SETTINGS, NOW + timedelta(days=days)) is not None
    assert sessions.current(db, cookie, SETTINGS, NOW + timedelta(days=60)) is None


def test_the_idle_expiry_is_written_at_most_every_five_minutes(db: Database) -> None:
    cookie = visit(db)

    def expiry(at: timedelta) -> datetime:
        assert sessions.current(db, cookie, SETTINGS, NOW + at) is not None
        with db.reading() as session:
            return session.exec(select(ServerSession.idle_expires_at)).one()

    assert expiry(timedelta(minutes=5)) == NOW + sessions.IDLE
    assert expiry(timedelta(minutes=6)) == NOW + timedelta(minutes=6) + sessions.IDLE
    assert expiry(timedelta(minutes=10)) == NOW + timedelta(minutes=6) + sessions.IDLE


def test_a_revoked_session_gives_its_refresh_token_once_and_forgets_it(db: Database) -> None:
    cookie = person(db)
    with db.session() as session:
        assert sessions.revoke(session, SETTINGS, hash_of(cookie), NOW) == "refresh-secret"
    assert sessions.current(db, cookie, SETTINGS, NOW) is None
    with db.session() as session:
        assert sessions.revoke(session, SETTINGS, hash_of(cookie), NOW) is None
        assert session.exec(select(ServerSession.refresh_token)).one() == ""


def test_the_others_can_be_ended_and_this_one_kept(db: Database) -> None:
    first, other_person = person(db, 1), person(db, 2)
    with db.session() as session:
        account_id = session.get_one(Profile, "p-1").account_id
        second = "session=" + sessions.open_session(session, SETTINGS, account_id, NOW, profile_id="p-1")
    assert len(sessions.of_profile(db, "p-1", NOW)) == 2
    with db.session() as session:
        assert sessions.revoke_all_of_profile(session, "p-1", NOW, keep=hash_of(first)) == 1
    assert [sessions.current(db, c, SETTINGS, NOW) is not None for c in (first, second, other_person)] == [
        True, False, True]
    assert [row.token_hash for row in sessions.of_profile(db, "p-1", NOW)] == [hash_of(first)]


def test_sweeping_removes_what_ended_and_nothing_else(db: Database) -> None:
    old, alive = visit(db, NOW - timedelta(days=30)), visit(db)
    with db.session() as session:
        assert sessions.sweep(session, NOW) == 1
    assert sessions.current(db, old, SETTINGS, NOW) is None
    assert sessions.current(db, alive, SETTINGS, NOW) is not None


def test_over_https_the_cookie_is_bound_to_its_host() -> None:
    secure = app_settings.load({"PUBLIC_URL": "https://chat.example", "API_URL": "https://chat.example"})
    token = "A" * 43
    assert sessions.hash_in(f"__Host-session={token}", secure) is not None
    assert sessions.hash_in(f"session={token}", secure) is None, "a sibling domain could have set this one"
