"""The machine of the billing core, whole: what must hold after every rule, and at the end when all is well again.

Its rules are in `machine_steps`, `machine_ends`, `machine_outbox` and `machine_words`. See `machine_polar` for the
machine with Polar's real client.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis.stateful import invariant

from chatapp.billing.reconcile import local_differences
from tests.billing.machine import OpenDatabase
from tests.billing.machine_model import TERMS
from tests.billing.machine_words import WordsMachine


class CoreMachine(WordsMachine):
    """Held against the reference model."""

    def __init__(self, open_database: OpenDatabase) -> None:
        super().__init__(open_database)
        self.before: dict[str, tuple[datetime, int]] = {}

    @invariant()
    def the_books_are_the_models(self) -> None:
        """Invariants 1 to 4, after every rule."""
        self.books.read()
        self.books.check()
        assert self.books.rows.keys() == self.model.rows.keys()
        for key, row in self.model.rows.items():
            entered = self.books.rows[key]
            assert (entered.cost_nanousd, entered.charge_nanousd, entered.exact) == (row.cost, row.charge, row.exact)
            assert (entered.account_id, entered.turn_id, entered.occurred_at) == (row.account, row.turn, row.at)
        assert {key: hold.amount_nanousd for key, hold in self.books.holds.items()} == {
            key: hold.amount for key, hold in self.model.holds.items()}
        assert {key for key, message in self.books.messages.items() if message.delivered_at} == self.delivered

    @invariant()
    def nothing_is_committed_beyond_a_limit(self) -> None:
        """charged + held never grows beyond the limit; a limit that is lowered below it stops all growth (2)."""
        for account in self.model.accounts:
            start, committed = account.period_start(self.now), self.model.committed(account, self.now)
            limit = account.limit(TERMS["pay_per_use"])
            before_start, before = self.before.get(account.id, (start, 0))
            if limit is not None and before_start == start:
                assert committed <= max(limit, before)
            self.before[account.id] = (start, committed)

    def teardown(self) -> None:
        """Unless the sequence failed: all is well again, and every figure agrees."""
        if sys.exc_info()[0] is None and self.model.accounts:
            self.all_is_well_again()

    def all_is_well_again(self) -> None:
        self.crash(0)
        self.crash(1)
        self.restart()
        self.time_passes(timedelta(days=1))
        self.sweep()
        self.deliver_all()
        self.the_books_are_the_models()
        assert not self.books.holds
        assert self.polar.keys() == self.books.rows.keys()
        for account in self.model.accounts:
            billed = sum((Decimal(event["numbers"]["charge_microusd"]) for event in self.polar.values()
                          if event["external_customer_id"] == account.id and event["name"] == "usage"), Decimal(0))
            assert billed * 1000 == self.books.charged(account.id)
        assert local_differences(self.db, self.now) == []
