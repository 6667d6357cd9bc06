"""What becomes of visitors and accounts when several tabs sign in at once, from several threads."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlmodel import func, select

from chatapp import settings as app_settings
from chatapp.accounts import joining, sessions
from chatapp.accounts.sign_in import start_visitor
from chatapp.clients.supabase import AuthTokens
from chatapp.db import Database
from chatapp.models import Account, Figure, Message, Profile, QuotaCount, Thread, Turn, UsageEvent

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SETTINGS = app_settings.load({})
ADA = AuthTokens("access", "refresh", "s-1", "ada", "ada@example.com", "Ada", confirmed=True)
BOB = AuthTokens("access", "refresh", "s-2", "bob", "bob@example.com", "", confirmed=True)


def join(db: Database, tokens: AuthTokens, visitor: str | None = None) -> str:
    with db.session() as session:
        return joining.account_of(session, db, tokens, visitor, NOW)


def visitor_with_a_chat(db: Database) -> str:
    account_id = start_visitor(db, SETTINGS, NOW).account_id
    with db.session() as session:
        thread = Thread(account_id=account_id)
        session.add(thread)
        session.flush()
        message = Message(thread_id=thread.id, account_id=account_id, role="assistant")
        session.add(message)
        session.add(Figure(account_id=account_id, message_id=message.id, mime="image/png", data=b"x"))
        session.add(Turn(id=message.id, account_id=account_id, thread_id=thread.id, runner="r",
                         lease_until=NOW + timedelta(minutes=1)))
        session.add(QuotaCount(account_id=account_id, quota="searches", window_start=NOW, count=3))
        session.add(UsageEvent(id=message.id, account_id=account_id, turn_id=message.id, thread_id=thread.id,
                               kind="model", provider="p", name="m", cost_usd="0.1", occurred_at=NOW))
    return account_id


def at_once(*calls: Callable[[], str]) -> list[str]:
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], str]) -> str:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


def accounts(db: Database) -> int:
    with db.reading() as session:
        return session.exec(select(func.count()).select_from(Account)).one()


def test_eight_first_sign_ins_at_once_make_one_account(db: Database) -> None:
    assert len(set(at_once(*[lambda: join(db, ADA)] * 8))) == 1
    assert accounts(db) == 1


def test_eight_tabs_of_one_visitor_signing_in_at_once_keep_the_visitors_account(db: Database) -> None:
    visitor = visitor_with_a_chat(db)
    assert set(at_once(*[lambda: join(db, ADA, visitor)] * 8)) == {visitor}
    assert accounts(db) == 1


def test_of_two_people_at_one_visitors_browser_only_the_first_takes_its_account(db: Database) -> None:
    visitor = visitor_with_a_chat(db)
    ada, bob = at_once(lambda: join(db, ADA, visitor), lambda: join(db, BOB, visitor))
    assert ada != bob
    assert visitor in (ada, bob)
    assert accounts(db) == 2


def test_visitors_of_two_browsers_signing_in_at_once_both_bring_their_chats(db: Database) -> None:
    first, second = visitor_with_a_chat(db), visitor_with_a_chat(db)
    homes = at_once(lambda: join(db, ADA, first), lambda: join(db, ADA, second))
    assert len(set(homes)) == 1
    with db.reading() as session:
        assert set(session.exec(select(Thread.account_id))) == set(homes)
        assert len(session.exec(select(Thread)).all()) == 2


def test_no_visitors_session_survives_the_accounts_becoming_a_persons_or_being_merged(db: Database) -> None:
    adopted, merged = visitor_with_a_chat(db), visitor_with_a_chat(db)
    cookies = []
    for account_id in (adopted, merged):
        with db.session() as session:
            cookies.append("session=" + sessions.open_session(session, SETTINGS, account_id, NOW))
    assert all(sessions.current(db, cookie, SETTINGS, NOW) for cookie in cookies)
    join(db, ADA, adopted)
    join(db, ADA, merged)
    assert not any(sessions.current(db, cookie, SETTINGS, NOW) for cookie in cookies)


def test_at_the_first_sign_in_everything_stays_where_it_is(db: Database) -> None:
    visitor = visitor_with_a_chat(db)
    assert join(db, ADA, visitor) == visitor
    with db.reading() as session:
        for table in (Thread, Message, Figure, Turn, QuotaCount, UsageEvent):
            assert session.exec(select(table.account_id)).all() == [visitor]
        assert session.get_one(Account, visitor).kind == "person"


def test_a_merged_visitor_gives_its_chats_and_keeps_its_ledger(db: Database) -> None:
    home = join(db, ADA)
    visitor = visitor_with_a_chat(db)
    assert join(db, ADA, visitor) == home
    with db.reading() as session:
        for table in (Thread, Message, Figure, Turn):
            assert session.exec(select(table.account_id)).all() == [home]
        for kept in (QuotaCount, UsageEvent):
            assert session.exec(select(kept.account_id)).all() == [visitor]
        assert session.get_one(Account, visitor).merged_into == home


def test_merging_the_same_visitor_again_changes_nothing(db: Database) -> None:
    home = join(db, ADA)
    visitor = visitor_with_a_chat(db)
    for _ in range(2):
        assert join(db, ADA, visitor) == home
    assert join(db, BOB, visitor) not in (home, visitor)
    with db.reading() as session:
        assert session.get_one(Account, visitor).merged_into == home


def test_a_person_is_known_by_supabases_id_whatever_their_address(db: Database) -> None:
    home = join(db, ADA)
    assert join(db, replace(ADA, email="new@example.com", name="Someone else")) == home
    assert join(db, replace(BOB, email="ada@example.com")) != home
    with db.reading() as session:
        profile = session.get_one(Profile, "ada")
        assert (profile.email, profile.name) == ("new@example.com", "Ada")
