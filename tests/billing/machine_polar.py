"""A machine with Polar: the real client, the emulator over HTTP with its faults, webhooks, checkouts and deliveries.

The app's shell reads the real clock, so time passes the other way round here: what waits for a moment is made due.
At the end Polar's clock runs past the end of the period, and every charged event must be on an invoice.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from polar.base import PolarError
from sqlalchemy import update
from sqlmodel import col, select

from chatapp.billing import (
    admission,
    balances,
    checkout,
    delivery,
    holds,
    inbox,
    ledger,
    outbox,
    provision,
    subscriptions,
)
from chatapp.billing import reconcile as reconciliation
from chatapp.billing.entitlements import SpendingRefused
from chatapp.billing.holds import InsufficientFunds, PlacedHold
from chatapp.billing.texts import BillingRefused
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import now
from chatapp.models import Balance, Hold, InboxMessage, OutboxMessage
from chatapp.settings import load
from emulators.faults import Fault
from emulators.polar import billing, context, survey, switching
from emulators.polar.tables import Tables
from tests.billing.conftest import BOUND, PRICES, new_account
from tests.billing.machine import Books, OpenDatabase
from tests.billing.town import Town, open_town, until

WHO = st.integers(0, 1)
WORKERS = st.integers(1, 3)
PLANS = st.sampled_from(["pay_per_use", "unlimited"])
LIMIT_NANOUSD = 42_000_000
"""Ten holds of `BOUND`: reached within a sequence."""
PATHS = st.sampled_from(["", "", "events/ingest", "subscriptions/", "checkouts/", "customers/"])
REQUEST_FAULTS = st.sampled_from([Fault.DOWN, Fault.TOO_MANY_REQUESTS, Fault.SERVER_ERROR, Fault.LOST_ANSWER])
WEBHOOK_FAULTS = st.sampled_from([Fault.WEBHOOK_TWICE, Fault.WEBHOOK_LATE, Fault.WEBHOOK_FORGED])
_T = TypeVar("_T")


class PolarMachine(RuleBasedStateMachine):
    """Two accounts that use, buy, switch and cancel, while Polar and our own processes fail."""

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

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    @initialize()
    def open_accounts(self) -> None:
        self.run(provision.apply(self.services))
        self.accounts = [new_account(self.db) for _ in range(2)]
        for number, account in enumerate(self.accounts):
            with self.db.session() as session:
                balances.current(session, account, now()).spend_limit_nanousd = LIMIT_NANOUSD
            if number == 0:
                self.buy_or_switch(0, "pay_per_use", pays=True)
                self.run(self.quiet())

    # --------------------------------------------------------------------------------------------------- using

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
                holds.checkpoint(self.db, hold, {"input_tokens": noted}, now())

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

    # ------------------------------------------------------------------------------------------------- delivery

    @rule(workers=WORKERS, who=st.none() | WHO)
    def deliver(self, workers: int, who: int | None) -> None:
        async def work() -> None:
            account = None if who is None else self.accounts[who]
            await asyncio.gather(*(delivery.deliver(self.services, account_id=account) for _ in range(workers)))

        self.run(work())

    @rule(limit=st.sampled_from([1, 500]))
    def die_while_delivering(self, limit: int) -> None:
        """Polar has them, or has not, and we are killed before its answer is noted."""
        claimed = outbox.claim(self.db, "usage", limit, delivery.LEASE_SECONDS, now())
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

    # ------------------------------------------------------------------------------------------- plans and webhooks

    @rule(who=WHO, plan=PLANS, pays=st.sampled_from([True, True, False]))
    def buy_or_switch(self, who: int, plan: str, pays: bool) -> None:
        """A checkout, paid or left, or a switch: refused while usage is pending, or when Polar is not there."""
        try:
            url = self.run(checkout.start(self.services, self.accounts[who], f"{who}@example.com", plan))
        except BillingRefused:
            return
        if "/polar/checkout/" in url and pays:
            self.run(self.town.browser.post(url, data={"card": "4242 4242 4242 4242", "name": "Ada"}))

    @rule(who=WHO, change=st.sampled_from([{"cancel_at_period_end": True}, {"cancel_at_period_end": False}, "revoke"]))
    def change_in_the_portal(self, who: int, change: Any) -> None:
        """The person cancels or resumes; or the operator ends the subscription at once."""
        for subscription in self.run(self.subscriptions(self.accounts[who])):
            try:
                if change == "revoke":
                    self.run(self.services.polar._sdk.subscriptions.revoke(subscription))
                    self.ended_at_once.add(self.accounts[who])
                else:
                    self.run(self.services.polar._sdk.subscriptions.update(subscription, **change))
            except PolarError:  # Polar is out, or there is nothing left to cancel
                return

    async def subscriptions(self, account: str) -> list[str]:
        try:
            found = await self.services.polar.subscriptions_of(account)
        except (Unavailable, Rejected):
            return []
        return [each.id for each in found if each.status == "active"]

    @rule(kind=WEBHOOK_FAULTS, times=st.integers(1, 3))
    def webhooks_go_astray(self, kind: Fault, times: int) -> None:
        self.town.fault(kind, times=times, seconds=0.1)

    @rule(workers=WORKERS)
    def work_on_webhooks(self, workers: int) -> None:
        async def work() -> None:
            await asyncio.gather(*(inbox.process(self.services) for _ in range(workers)))

        self.run(work())

    @rule(who=WHO)
    def forge_a_webhook(self, who: int) -> None:
        """Refused, and nothing of it is kept."""
        headers = {"webhook-id": "forged", "webhook-timestamp": str(int(now().timestamp())),
                   "webhook-signature": "v1,AA=="}
        body = {"type": "subscription.active", "data": {"customer": {"external_id": self.accounts[who]}}}
        answer = self.run(self.town.browser.post(f"{self.services.settings.api_url}/api/webhooks/polar", json=body,
                                                 headers=headers))
        assert answer.status_code == 403
        with self.db.reading() as session:
            assert session.get(InboxMessage, "forged") is None

    @rule()
    def poll(self) -> None:
        try:
            self.run(subscriptions.refresh_stale(self.services, timedelta(0)))
        except (Unavailable, Rejected):
            return

    # ------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def the_books_hold(self) -> None:
        """Invariants 1 to 4; and Polar has nothing that the ledger has not, and nothing twice."""
        self.books.read()
        self.books.check()
        for balance in self.books.balances.values():
            assert balance.charged_nanousd + balance.held_nanousd <= LIMIT_NANOUSD
        received = [row["external_id"] for row in self.events()]
        assert len(set(received)) == len(received)
        assert set(received) <= self.books.rows.keys()
        delivered = {key for key, message in self.books.messages.items() if message.delivered_at}
        assert delivered <= set(received), "marked as delivered, and Polar has it not"

    def events(self) -> list[Any]:
        return self.polar.rows("SELECT * FROM polar_event WHERE source = 'user' ORDER BY seq")

    def teardown(self) -> None:
        """Unless the sequence failed: all is well again, and every figure agrees."""
        try:
            if sys.exc_info()[0] is None and self.accounts:
                self.all_is_well_again()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    def all_is_well_again(self) -> None:
        self.town.mend()
        self.sweep()
        self.run(self.quiet())
        self.the_books_hold()
        assert not self.books.holds
        assert {row["external_id"] for row in self.events()} == self.books.rows.keys()
        for account in self.accounts:
            self.run(self.figures_agree(account))
        survey.advance(context.of(self.town.world), timedelta(days=32))
        unbilled = [row["external_id"] for row in self.events() if row["name"] == "usage"
                    and row["external_customer_id"] not in self.ended_at_once
                    and (row["subscription_id"] == billing.NEVER or row["order_id"] in (None, switching.DROPPED))]
        assert not unbilled, "charged, received by Polar, and on no invoice"

    async def quiet(self) -> None:
        """Until every webhook has been sent and worked on, and every event delivered."""
        async def settled() -> bool:
            self.time_passes()
            await inbox.process(self.services)
            await delivery.deliver(self.services)
            unsent = self.polar.rows("SELECT 1 FROM polar_webhook_event WHERE succeeded IS NULL")
            with self.db.reading() as session:
                unread = session.exec(select(InboxMessage.id).where(col(InboxMessage.processed_at).is_(None))).all()
            return not (unsent or unread or outbox.pending(self.db, "usage"))

        await until(settled)

    async def figures_agree(self, account: str) -> None:
        """Ledger, Polar's meter and our own reconciliation; and the plan that is shown is Polar's (7)."""
        with self.db.reading() as session:
            meter = provision.required(session, self.services.settings).meter_id
        theirs = await self.services.polar.meter_quantity(
            meter, now() - timedelta(days=1), now() + timedelta(days=1), external_id=account)
        assert theirs * 1000 == self.books.charged(account)
        assert await reconciliation.reconcile(self.services, account) == []
        found = [each for each in await self.services.polar.subscriptions_of(account) if each.status == "active"]
        with self.db.reading() as session:
            plans = [provision.required(session, self.services.settings).plan_of(each.product_id) for each in found]
        assert [self.town.plan(account)] == (plans or ["free"])
