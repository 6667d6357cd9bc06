"""The machine's fourth part: what Polar says of subscriptions, heard late, twice and out of order; switches of plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from chatapp.billing import subscriptions, switches
from chatapp.billing.texts import BillingRefused
from chatapp.clients.polar_types import PolarSubscription
from chatapp.ids import new_id
from tests.billing.machine_model import ONGOING, TERMS, Account, Truth, month_after
from tests.billing.machine_outbox import OutboxMachine
from tests.billing.machine_steps import MOSTLY, NUMBER, PROCESS, START, WHO


class WordsMachine(OutboxMachine):
    """What Polar says of subscriptions, heard late, twice and out of order; and switches of plan."""

    @initialize()
    def subscribe_some(self) -> None:
        """Two pay per use from the start, the third has nothing."""
        self.open_accounts()
        for account in self.model.accounts[:2]:
            account.truth = Truth(new_id(), "pay_per_use", "active", START, month_after(START), START)
            self.write(account, self.tick(), account.truth)

    @rule(who=WHO, change=st.sampled_from(
        ["pay_per_use", "pay_per_use", "unlimited", "fails", "pays", "cancels", "resumes", "revoked"]),
        crossing=MOSTLY)
    def polar_changes(self, who: int, change: str, crossing: bool) -> None:
        """A purchase, a payment or a cancel at Polar; we are told later, or by answers that cross on their way."""
        account = self.model.accounts[who]
        earlier = self.tick()
        before = account.truth.at(earlier) if account.truth else None
        self.change(account, change)
        if crossing:
            later = self.tick()
            self.write(account, later, account.truth.at(later) if account.truth else None)
            self.write(account, earlier, before)

    def change(self, account: Account, change: str) -> None:
        now = self.tick()
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

    @rule(who=WHO, refused=MOSTLY.map(lambda mostly: not mostly),
          calm=st.sampled_from(["finished and delivered", "finished and delivered", "finished", ""]),
          asked=st.booleans())
    def go_on_with_a_switch(self, who: int, refused: bool, calm: str, asked: bool) -> None:
        """The next stage of a switch of plan.

        `calm` is what is done with all that is under way before it; `asked`: a question was admitted just before it,
        and spends after it.
        """
        account = self.model.accounts[who]
        if account.switch == "begun":
            self.switch_at_polar(account, refused)
        elif account.switch == "done":
            self.finish_the_switch(account)
        else:
            if calm:
                self.calm_down(account)
            if "delivered" in calm:
                self.deliver_all()
            if asked:
                self.ask(who, 0)
            self.begin_a_switch(account)
            if asked:
                self.hold_for_a_model(who, 0, 1000, "customer")

    def calm_down(self, account: Account) -> None:
        for turn in self.alive(account):
            if turn.begun:
                self.stop(turn)
        self.restart()
        self.time_passes(timedelta(seconds=301))
        self.sweep()

    def begin_a_switch(self, account: Account) -> None:
        """Refused while anything of the account is under way, or another switch is."""
        now = self.tick()
        expected = ""
        if account.closed_until is not None and account.closed_until > now:
            expected = "plan_changing"
        elif any(turn.account is account and turn.begun for turn in self.model.turns) or any(
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
