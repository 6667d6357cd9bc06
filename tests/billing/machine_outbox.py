"""The machine's third part: workers that claim usage events and send them to Polar, which is a dictionary here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from chatapp.billing import outbox
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.outbox import Claimed
from tests.billing.machine_ends import EndsMachine
from tests.billing.machine_model import Account
from tests.billing.machine_steps import NUMBER, PROCESS, WHO, Batch

LEASE_SECONDS = 40.0
FATES = st.sampled_from(["taken", "taken", "taken", "lost", "unsent", "parked", "taken_and_died"])


class OutboxMachine(EndsMachine):
    """Deliveries, each with its fate."""

    @rule(process=PROCESS, limit=st.sampled_from([1, 2, 500]), who=st.none() | WHO, fate=FATES, later=st.booleans())
    def deliver(self, process: int, limit: int, who: int | None, fate: str, later: bool) -> None:
        """Two workers claim one after the other; the first sends what it has at once, or later."""
        account = None if who is None else self.model.accounts[who].id
        for worker in (process, 1 - process):
            self.claim(worker, limit, account)
        if self.batches and not later:
            self.send(-1, fate, slowly=False)

    def claim(self, worker: int, limit: int, account: str | None) -> None:
        """The oldest messages that are due, and no others."""
        now = self.tick()
        due = [message for message in self.books.read().messages.values()
               if _due(message, now) and account in (None, message.account_id)]
        oldest = sorted(due, key=lambda message: (message.created_at, message.id))[:limit]
        claimed = outbox.claim_batch(self.db, CHANNEL, limit, LEASE_SECONDS, now, account_id=account)
        assert [message.key for message in claimed] == [message.key for message in oldest]
        if claimed:
            self.batches.append(Batch(claimed, worker))

    @rule(number=NUMBER, fate=FATES, slowly=st.booleans())
    def send(self, number: int, fate: str, slowly: bool) -> None:
        """Polar takes a claimed batch or not; its answer arrives or not. `slowly`: the worker comes again with it.

        Without a precondition, as below: whether there is one may hang on which of several threads was first.
        """
        if not self.batches:
            return
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

    def deliver_all(self) -> None:
        """What is claimed is let go, what is parked put back: then one delivery takes everything there is."""
        self.time_passes(timedelta(seconds=301))
        outbox.unpark(self.db, CHANNEL, self.now)
        self.claim(0, 500, None)
        if self.batches:
            self.send(-1, "taken", slowly=False)
        assert self.delivered == self.model.rows.keys(), "an event was never delivered"

    def receive(self, messages: list[Claimed]) -> None:
        """Polar keeps the first event of each id."""
        for message in messages:
            assert self.polar.setdefault(message.payload["external_id"], message.payload) == message.payload

    @rule()
    def put_parked_ones_back(self) -> None:
        outbox.unpark(self.db, CHANNEL, self.tick())

    def undelivered(self, account: Account) -> list[str]:
        return [key for key, row in self.model.rows.items() if row.account == account.id and key not in self.delivered]


def _due(message: Any, now: datetime) -> bool:
    return (message.delivered_at is None and message.parked_at is None and message.next_attempt_at <= now
            and (message.lease_until is None or message.lease_until < now))
