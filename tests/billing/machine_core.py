"""The machine of the billing core, whole: paid steps, and around them Polar's word, switches of plan and the outbox.

Polar is a dictionary of what it received and, per account, the subscription that it has; see `machine_polar` for the
real client. After every rule the books are read and held against the reference model.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from chatapp.billing import outbox, subscriptions, switches
from chatapp.billing.reconcile import local_differences
from chatapp.billing.texts import BillingRefused
from chatapp.clients.polar_types import PolarSubscription
from chatapp.ids import new_id
from chatapp.models import OutboxMessage
from tests.billing.machine import OpenDatabase
from tests.billing.machine_model import ONGOING, TERMS, Account, Truth, month_after
from tests.billing.machine_steps import MOSTLY, NUMBER, PROCESS, START, WHO, Batch, StepsMachine

CHANNEL = "usage"
LEASE_SECONDS = 40.0
FATES = st.sampled_from(["taken", "taken", "taken", "lost", "unsent", "parked", "taken_and_died"])


class WordsMachine(StepsMachine):
    """What Polar says of subscriptions, heard late, twice and out of order; and switches of plan."""

    @initialize()
    def subscribe_some(self) -> None:
        """Two pay per use from the start, the third has nothing."""
        self.open_accounts()
        for account in self.model.accounts[:2]:
            account.truth = Truth(new_id(), "pay_per_use", "active", START, month_after(START), START)
            self.write(account, self.tick(), account.truth)

    @rule(who=WHO, change=st.sampled_from(
        ["pay_per_use", "pay_per_use", "unlimited", "fails", "pays", "cancels", "resumes", "revoked"]))
    def polar_changes(self, who: int, change: str) -> None:
        """A purchase, a payment or a cancel at Polar; we are not told yet."""
        account, now = self.model.accounts[who], self.tick()
        truth = account.truth.at(now) if account.truth else None
        ongoing = truth is not None and truth.status in ONGOING
        if change in TERMS and not ongoing:
            start = now.replace(day=min(now.day, 28))
            account.truth = Truth(new_id(), change, "active", start, month_after(start), now)
        elif truth is not None and ongoing and change not in TERMS:
            account.truth = {
                "fails": replace(truth, status="past_due"), "pays": replace(truth, status="active"),
                "cancels": replace(truth, cancels=True), "resumes": replace(truth, cancels=False),
                "revoked": replace(truth, status="canceled"),
            }[change]

    @rule(who=WHO, process=PROCESS, late=st.booleans())
    def ask_polar(self, who: int, process: int, late: bool) -> None:
        """A webhook, a poll or a page asks Polar afresh. The answer is heard at once, or stays under way for long."""
        account, now = self.model.accounts[who], self.tick()
        answer = (account, now, account.truth.at(now) if account.truth else None)
        if late:
            self.heard.append((*answer, process))
        else:
            self.write(*answer)

    @precondition(lambda self: self.heard)
    @rule(number=NUMBER, again=st.booleans())
    def hear(self, number: int, again: bool) -> None:
        """Any of the answers under way arrives; perhaps it, or a copy of it, arrives once more later."""
        account, asked_at, truth, _ = self.heard[number % len(self.heard)]
        self.write(account, asked_at, truth)
        if not again:
            del self.heard[number % len(self.heard)]

    def write(self, account: Account, asked_at: datetime, truth: Truth | None) -> None:
        if account.mirrored_at is None or account.mirrored_at < asked_at:
            account.mirror, account.mirrored_at = truth, asked_at
        found = [] if truth is None else [_as_polar(truth), _as_polar(replace(
            truth, id="older", plan="unlimited", status="canceled", began=truth.began - timedelta(days=99)))]
        plan = subscriptions._write(self.services, account.id, found[::-1], asked_at)
        assert plan.key == account.terms(asked_at).name

    @rule(who=WHO, refused=MOSTLY.map(lambda mostly: not mostly), calmly=MOSTLY)
    def go_on_with_a_switch(self, who: int, refused: bool, calmly: bool) -> None:
        """The next stage of a switch of plan; `calmly`: all that is under way is finished and delivered before."""
        account = self.model.accounts[who]
        if account.switch == "begun":
            self.switch_at_polar(account, refused)
        elif account.switch == "done":
            self.finish_the_switch(account)
        else:
            if calmly:
                self.calm_down(account)
            self.begin_a_switch(account)

    def calm_down(self, account: Account) -> None:
        """To be overridden: nothing of the account is under way, and all of its usage is delivered."""
        raise NotImplementedError

    def begin_a_switch(self, account: Account) -> None:
        """Refused while anything of the account is under way, or another switch is."""
        now = self.tick()
        expected = ""
        if account.closed_until is not None and account.closed_until > now:
            expected = "plan_changing"
        elif any(turn.account is account for turn in self.model.turns) or any(
                hold.turn.account is account for hold in self.model.holds.values()) or self.undelivered(account):
            expected = "usage_pending"
        outcome = ""
        try:
            switches.begin(self.db, account.id, now)
        except BillingRefused as refused:
            outcome = refused.code
        assert outcome == expected
        if outcome:
            return
        account.closed_until, account.switch = now + timedelta(seconds=60), "begun"

    def undelivered(self, account: Account) -> list[str]:
        return [key for key, row in self.model.rows.items() if row.account == account.id and key not in self.delivered]

    def switch_at_polar(self, account: Account, refused: bool) -> None:
        """Polar is asked in time: either it switches, or the switch is abandoned."""
        now = self.tick()
        truth = account.truth.at(now) if account.truth else None
        in_time = account.closed_until is not None and now < account.closed_until
        if refused or not in_time or truth is None or truth.status not in ONGOING:
            switches.abandon(self.db, account.id)
            account.closed_until, account.switch = None, ""
            return
        lost = [key for key in self.undelivered(account) if self.model.rows[key].charge]
        assert not lost, "usage that was charged before a switch would be billed by the plan after it"
        other = "unlimited" if truth.plan == "pay_per_use" else "pay_per_use"
        account.truth, account.switch = replace(truth, plan=other), "done"

    def finish_the_switch(self, account: Account) -> None:
        asked_at = self.tick()
        self.write(account, asked_at, account.truth.at(asked_at) if account.truth else None)
        now = self.tick()
        switches.finish(self.db, account.id, now)
        account.closed_until, account.switch = now, ""


def _as_polar(truth: Truth) -> PolarSubscription:
    return PolarSubscription(
        id=truth.id, customer_id="c", product_id=f"product:{truth.plan}", status=truth.status,
        current_period_start=truth.start, current_period_end=truth.end, cancel_at_period_end=truth.cancels,
        ends_at=truth.end if truth.cancels else None, started_at=truth.began,
    )


class CoreMachine(WordsMachine):
    """With delivery by several workers, and what must hold after every rule and at the end."""

    def __init__(self, open_database: OpenDatabase) -> None:
        super().__init__(open_database)
        self.before: dict[str, tuple[datetime, int]] = {}

    @rule(process=PROCESS, limit=st.sampled_from([1, 2, 500]), who=st.none() | WHO, at_once=st.none() | FATES)
    def deliver(self, process: int, limit: int, who: int | None, at_once: str | None) -> None:
        """A worker leases the oldest messages that are due, and no others; it sends them at once or later."""
        account = None if who is None else self.model.accounts[who].id
        now = self.tick()
        self.books.read()
        due = [message for message in self.books.messages.values()
               if _due(message, now) and account in (None, message.account_id)]
        oldest = sorted(due, key=lambda message: (message.created_at, message.id))[:limit]
        claimed = outbox.claim(self.db, CHANNEL, limit, LEASE_SECONDS, now, account_id=account)
        assert [message.key for message in claimed] == [message.key for message in oldest]
        if claimed:
            self.batches.append(Batch(claimed, process))
            if at_once is not None:
                self.send(-1, at_once, slowly=False)

    def calm_down(self, account: Account) -> None:
        for turn in self.alive(account):
            self.stop(turn)
        self.restart()
        self.time_passes(timedelta(seconds=301))
        self.sweep()
        outbox.unpark(self.db, CHANNEL, self.now)
        while self.undelivered(account):
            self.deliver(0, 500, None, "taken")

    @precondition(lambda self: self.batches)
    @rule(number=NUMBER, fate=FATES, slowly=st.booleans())
    def send(self, number: int, fate: str, slowly: bool) -> None:
        """Polar takes a claimed batch or not; its answer arrives or not. `slowly`: the worker comes again with it."""
        batch, now = self.batches[number % len(self.batches)], self.tick()
        if fate in ("taken", "lost", "taken_and_died"):
            self.receive(batch.messages)
        ids = [message.id for message in batch.messages]
        if fate == "taken":
            outbox.delivered(self.db, ids, now)
            self.delivered |= {message.key for message in batch.messages}
        elif fate in ("lost", "unsent"):
            outbox.retry(self.db, ids, now + timedelta(seconds=30), fate)
        elif fate == "parked":
            outbox.park(self.db, ids[0], fate, now)
        if not slowly:
            del self.batches[number % len(self.batches)]

    def receive(self, messages: list[OutboxMessage]) -> None:
        """Polar keeps the first event of each id."""
        for message in messages:
            assert self.polar.setdefault(message.payload["external_id"], message.payload) == message.payload

    @precondition(lambda self: any(message.parked_at for message in self.books.messages.values()))
    @rule()
    def put_parked_ones_back(self) -> None:
        outbox.unpark(self.db, CHANNEL, self.tick())

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
        outbox.unpark(self.db, CHANNEL, self.now)
        while len(self.delivered) < len(self.model.rows):
            self.deliver(0, 500, None, "taken")
        self.the_books_are_the_models()
        assert not self.books.holds
        assert self.polar.keys() == self.books.rows.keys()
        for account in self.model.accounts:
            billed = sum((Decimal(event["numbers"]["charge_microusd"]) for event in self.polar.values()
                          if event["external_customer_id"] == account.id and event["name"] == "usage"), Decimal(0))
            assert billed * 1000 == self.books.charged(account.id)
        assert local_differences(self.db, self.now) == []


def _due(message: OutboxMessage, now: datetime) -> bool:
    return (message.delivered_at is None and message.parked_at is None and message.next_attempt_at <= now
            and (message.lease_until is None or message.lease_until < now))
