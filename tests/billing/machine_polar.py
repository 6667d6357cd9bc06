"""The machine with Polar, whole: purchases, switches, cancels and webhooks, and what must hold in the end.

At the end Polar's clock runs past the end of the period, and what was charged must be on the invoices. That is not
claimed of an account whose plan was switched or ended at once: how Polar bills what it had accrued is Polar's affair,
and the emulator leaves it out.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from polar.base import PolarError
from sqlmodel import col, select

from chatapp.billing import checkout, delivery, inbox, outbox, provision, subscriptions
from chatapp.billing import reconcile as reconciliation
from chatapp.billing.texts import BillingRefused
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import now
from chatapp.models import InboxMessage
from emulators.faults import Fault
from emulators.polar import context, survey
from tests.billing.machine_using import LIMIT_NANOUSD, WHO, WORKERS, UsingMachine
from tests.billing.town import until

PLANS = st.sampled_from(["pay_per_use", "unlimited"])
WEBHOOK_FAULTS = st.sampled_from([Fault.WEBHOOK_TWICE, Fault.WEBHOOK_LATE, Fault.WEBHOOK_FORGED])


class PolarMachine(UsingMachine):
    """Accounts that buy, switch and cancel, with webhooks late, twice and forged."""

    @initialize()
    def begin_with_a_customer(self) -> None:
        """One pays per use from the start."""
        self.open_accounts()
        self.buy_or_switch(0, "pay_per_use", pays=True)
        self.run(self.quiet())

    @rule(who=WHO, plan=PLANS, pays=st.sampled_from([True, True, False]))
    def buy_or_switch(self, who: int, plan: str, pays: bool) -> None:
        """A checkout, paid or left, or a switch: refused while usage is pending, or when Polar is not there."""
        products = self.products(self.accounts[who])
        try:
            url = self.run(checkout.start(self.services, self.accounts[who], f"{who}@example.com", plan))
        except BillingRefused:
            return
        finally:
            if products and self.products(self.accounts[who]) != products:
                self.switched.add(self.accounts[who])
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

    def products(self, account: str) -> list[str]:
        """What the account has subscribed to at Polar, also what has ended."""
        ids = {customer["id"] for customer in self.polar.find("customer", external_id=account)}
        return [each["product_id"] for each in self.polar.find("subscription") if each["customer_id"] in ids]

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
        for account in set(self.accounts) - self.ended_at_once - self.switched:
            self.is_on_invoices(account)

    def is_on_invoices(self, account: str) -> None:
        """What the account was charged stands on its invoices, to the cent, each of which is rounded once."""
        orders = [each for each in self.polar.find("order") if each["customer_id"] in {
            customer["id"] for customer in self.polar.find("customer", external_id=account)}]
        cents = [item["amount"] for each in orders for item in each["items"] if "consumed units" in item["label"]]
        assert abs(sum(cents) * 10_000_000 - self.books.charged(account)) <= 5_000_000 * max(1, len(cents))

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
