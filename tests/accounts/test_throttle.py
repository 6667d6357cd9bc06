"""Throttling."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from chatapp import settings as app_settings
from chatapp.accounts import throttle
from chatapp.accounts.errors import Throttled
from chatapp.db import Database
from chatapp.models import Throttle

NOW = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
SETTINGS = app_settings.load({})


def allowed(
    db: Database, address: str, email: str | None = None, *, at: datetime = NOW, action: str = "recover"
) -> bool:
    try:
        throttle.check(db, SETTINGS, action, address, at, email=email)
    except Throttled:
        return False
    return True


def test_one_address_may_do_so_much_and_another_is_not_held_liable(db: Database) -> None:
    limit = throttle.RULES["recover"].per_address
    assert [allowed(db, "203.0.113.5") for _ in range(limit + 1)] == [True] * limit + [False]
    assert allowed(db, "203.0.113.6")
    assert allowed(db, "203.0.113.5", action="resend")


def test_one_email_is_counted_wherever_it_is_typed(db: Database) -> None:
    limit = throttle.RULES["recover"].per_email
    assert limit is not None
    tries = [allowed(db, f"203.0.113.{i}", "a@example.com") for i in range(limit + 1)]
    assert tries == [True] * limit + [False]


def test_the_waiting_time_is_said_and_true(db: Database) -> None:
    for _ in range(5):
        throttle.check(db, SETTINGS, "recover", "203.0.113.5", NOW, email="a@example.com")
    with pytest.raises(Throttled) as refused:
        throttle.check(db, SETTINGS, "recover", "203.0.113.5", NOW, email="a@example.com")
    assert refused.value.wait_seconds == 55 * 60
    assert "55 minutes" in refused.value.text
    assert not allowed(db, "203.0.113.5", "a@example.com", at=NOW + timedelta(minutes=54, seconds=59))
    assert allowed(db, "203.0.113.5", "a@example.com", at=NOW + timedelta(minutes=55))


def test_tries_at_the_same_moment_are_all_counted(db: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: allowed(db, f"203.0.113.{i}", "a@example.com"), range(16)))
    assert results.count(True) == 5


def test_a_network_of_ipv6_counts_as_one(sqlite_db: Database) -> None:
    limit = throttle.RULES["recover"].per_address
    assert all(allowed(sqlite_db, f"2001:db8:1:2::{i:x}") for i in range(limit))
    assert not allowed(sqlite_db, "2001:db8:1:2:ffff::1")
    assert allowed(sqlite_db, "2001:db8:1:3::1")


def test_an_ipv4_address_in_ipv6_dress_is_itself(sqlite_db: Database) -> None:
    limit = throttle.RULES["recover"].per_address
    assert all(allowed(sqlite_db, f"::ffff:203.0.113.{i}") for i in range(limit + 1))


def test_no_address_of_mail_is_in_the_table_and_old_counts_go(db: Database) -> None:
    allowed(db, "203.0.113.5", "a@example.com")
    with db.session() as session:
        assert not any("example.com" in key for key in session.exec(select(Throttle.key)))
        assert throttle.sweep(session, NOW + timedelta(minutes=30)) == 0
        assert throttle.sweep(session, NOW + timedelta(hours=4)) == 2
