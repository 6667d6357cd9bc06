"""A machine with Polar, its first part: the real client, the emulator over HTTP with its faults, use and delivery.

The app's shell reads the real clock, so time passes the other way round here: what waits for a moment is made due.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import update
from sqlmodel import col

from chatapp.billing import admission, balances, delivery, holds, ledger, outbox, provision
from chatapp.billing.entitlements import SpendingRefused
from chatapp.billing.holds import InsufficientFunds, PlacedHold
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import now
from chatapp.models import Balance, Hold, InboxMessage, OutboxMessage
from chatapp.settings import load
from emulators.faults import Fault
from emulators.polar.tables import Tables
from tests.billing.conftest import BOUND, PRICES, new_account
from tests.billing.machine import Books, OpenDatabase
from tests.billing.town import Town, open_town

WHO = st.integers(0, 1)
WORKERS = st.integers(1, 3)
BUSY = st.sampled_from([0, 0, 1, None])
LIMIT_NANOUSD = 42_000_000
"""Ten holds of `BOUND`: reached within a sequence."""
PATHS = st.sampled_from(["", "", "events/ingest", "subscriptions/", "checkouts/", "customers/"])
REQUEST_FAULTS = st.sampled_from([Fault.DOWN, Fault.TOO_MANY_REQUESTS, Fault.SERVER_ERROR, Fault.LOST_ANSWER])
_T = TypeVar("_T")


class UsingMachine(RuleBasedStateMachine):
    """Two accounts that use what they may, while Polar and our own processes fail."""

    def __init__(self, open_database: OpenDatabase) -> None:
        super().__init__()
        self.db = open_database()
        self.runner, self.stack = asyncio.Runner(), AsyncExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="machine-"))
        self.town: Town = self.run(self.stack.enter_async_context(
            open_town(self.db, load({"LIMITS": "on"}), Path(folder))))
        self.services = self.town.services
        self.polar = Tables(self.town.world.store)
        self.accounts: list[str] = []
        self.books = Books(self.db)
        self.ended_at_once: set[str] = set()
        """Accounts whose subscription was revoked: Polar drops what it has not billed then."""
        self.switched: set[str] = set()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    def open_accounts(self) -> None:
        self.run(provision.apply(self.services))
        self.accounts = [new_account(self.db) for _ in range(2)]
        for account in self.accounts:
            with self.db.session() as session:
                balances.current(session, account, now()).spend_limit_nanousd = LIMIT_NANOUSD

    def hold(self, who: int) -> PlacedHold | None:
        account = self.accounts[who]
        try:
            may = admission.admit(self.db, self.services.settings, account, now())
            return holds.place(self.db, may, turn_id=f"turn-{len(self.books.rows)}", thread_id="thread", kind="model",
                               provider="openai", name="gpt-x", prices=PRICES, bound_cost_usd=Decimal("0.0035"),
                               quantities_bound=BOUND, now=now())
        except (SpendingRefused, InsufficientFunds):
            return None

    @rule(who=WHO, tokens=st.integers(0, 1200), how=st.sampled_from(["measured", "estimated", "twice", "late"]))
    def use(self, who: int, tokens: int, how: str) -> None:
        """A step from hold to ledger; a thousand tokens and more cost more than was held.

        `late`: a sweep takes it for dead, and then its real figures come.
        """
        hold = self.hold(who)
        if hold is None:
            return
        if how == "late":
            holds.checkpoint(self.db, hold, {"input_tokens": tokens, "output_tokens": 10}, now())
            self.sweep()
        for _ in range(2 if how == "twice" else 1):
            ledger.settle(self.db, hold, {"input_tokens": tokens, "output_tokens": 100}, exact=how != "estimated",
                          status="stopped" if how == "estimated" else "ok", now=now())

    @rule(who=WHO, steps=st.integers(1, 4), noted=st.none() | st.integers(0, 900))
    def die_in_steps(self, who: int, steps: int, noted: int | None) -> None:
        """The process is killed while several are under way, perhaps after a checkpoint."""
        for _ in range(steps):
            hold = self.hold(who)
            if hold is not None and noted is not None:
                holds.checkpoint(self.db, hold, {"input_tokens": noted, "output_tokens": noted // 5}, now())

    @rule(who=WHO)
    def refuse_a_step(self, who: int) -> None:
        hold = self.hold(who)
        if hold is not None:
            holds.release(self.db, hold)

    @rule()
    def sweep(self) -> None:
        """All leases have run out."""
        with self.db.session() as session:
            session.execute(update(Hold).values(lease_until=now() - timedelta(seconds=1)))
        holds.sweep(self.db, now())

    @rule(workers=WORKERS, who=st.none() | WHO, busy=BUSY, fault=st.none() | REQUEST_FAULTS)
    def deliver(self, workers: int, who: int | None, busy: int | None, fault: Fault | None) -> None:
        """By several workers at once, after a step perhaps; with a fault, the first of them meets it."""
        if busy is not None:
            self.use(busy, 800, "measured")
        if fault is not None:
            self.town.fault(fault, path="events/ingest", times=1)

        async def work() -> None:
            account = None if who is None else self.accounts[who]
            await asyncio.gather(*(delivery.deliver(self.services, account_id=account) for _ in range(workers)))

        self.run(work())

    @rule(limit=st.sampled_from([1, 500]))
    def die_while_delivering(self, limit: int) -> None:
        """Polar has them, or has not, and we are killed before its answer is noted."""
        claimed = outbox.claim_batch(self.db, "usage", limit, delivery.LEASE_SECONDS, now())
        try:
            self.run(self.services.polar.ingest([delivery._event(each, now(), stamped=True) for each in claimed]))
        except (Unavailable, Rejected):
            return

    @rule()
    def time_passes(self) -> None:
        """Pauses and leases end."""
        past = now() - timedelta(seconds=1)
        with self.db.session() as session:
            session.execute(update(OutboxMessage).where(col(OutboxMessage.delivered_at).is_(None))
                            .values(next_attempt_at=past, lease_until=None))
            session.execute(update(InboxMessage).where(col(InboxMessage.processed_at).is_(None))
                            .values(next_attempt_at=past, lease_until=None))
            session.execute(update(Balance).where(col(Balance.switching_until) > past).values(switching_until=past))

    @rule(kind=REQUEST_FAULTS, path=PATHS, times=st.integers(1, 4))
    def polar_has_a_bad_day(self, kind: Fault, path: str, times: int) -> None:
        self.town.fault(kind, path=path, times=times)

    @rule()
    def polar_is_well(self) -> None:
        self.town.mend()
