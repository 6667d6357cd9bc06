"""The check before a turn only looks: nothing that writes keeps it waiting, and nothing it reads is out of date."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from chatapp.billing import admission, balances, switches
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.entitlements import PlanChanging
from chatapp.db import Database
from chatapp.settings import Settings
from tests.billing.conftest import Place, set_limit, subscribe

WAITS_SECONDS = 5.0
"""Far below the 15 s for which SQLite waits for a writer, and far above what a check takes."""


def test_a_subscriber_is_admitted_while_someone_writes(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    admission.admit(db, settings, account, now)  # the period's first check begins the totals, and so writes
    began = time.monotonic()
    with db.session() as writing:
        balances.current(writing, account, now)
        assert admission.admit(db, settings, account, now).plan == PAY_PER_USE
    assert time.monotonic() - began < WAITS_SECONDS


def test_a_switch_that_has_begun_refuses_at_once(
    db: Database, account: str, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    admission.admit(db, settings, account, now)
    switches.begin(db, account, now)
    with pytest.raises(PlanChanging):
        admission.admit(db, settings, account, now + timedelta(seconds=1))


def test_what_is_held_lowers_the_next_questions_budget(
    db: Database, account: str, settings: Settings, now: datetime, place: Place
) -> None:
    subscribe(db, account, PAY_PER_USE)
    before = admission.admit(db, settings, account, now)
    set_limit(db, account, 10_000_000)
    place()
    after = admission.admit(db, settings, account, now)
    assert after.cost_budget_usd < before.cost_budget_usd
