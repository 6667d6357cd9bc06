"""`PolarIngestion`: events of one's own, on record before the call returns and at Polar once.

An event is one row in the outbox, on the ledger's channel, and goes the ledger's way: leases, batches, bisecting,
parking. So it needs no worker of its own, and an outage of Polar only puts it off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, TypeVar

from sqlmodel import Session, col, select

from chatapp.billing import admission
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.ingestion.drafts import DRAFT_LEASE, Draft
from chatapp.billing.ingestion.events import Event, Llm, Value, payload_of, require_valid
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.sql import insert, statement
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.ids import new_id
from chatapp.models import Account, OutboxMessage
from chatapp.settings import Settings

MOST_AT_ONCE = 500
"""Values in one IN clause: SQLite has a limit."""

_T = TypeVar("_T")


class KeyReused(ValueError):
    """An event with this key is on record, and it is another one. Nothing was written.

    Attributes:
        key: the key as it was given.
        index: the position of the event among those given.
    """

    def __init__(self, key: str, index: int) -> None:
        super().__init__(f"Event {index}: the key {key!r} is that of another event, with other contents.")
        self.key, self.index = key, index


class UnknownAccount(LookupError):
    """There is no account with this id."""


@dataclass(frozen=True)
class PolarIngestion:
    """Where events of one's own are handed in. Constructing it opens no connection and starts nothing.

    Its methods wait for the database and block: in async code, call them by `asyncio.to_thread`. Delivery is the
    app's own (`chatapp.billing.worker.run`), or `delivery.deliver(services)`, or `python -m chatapp.billing deliver`.

    Attributes:
        db: a migrated database of the app.
        settings: what `check` reads the limits' switch from.
        namespace: in front of every key, at Polar too: no key meets one of the ledger's, which bill, or one of
            another app in the same Polar organization.
        now: the clock.
    """

    db: Database
    settings: Settings
    namespace: str = "event"
    now: Callable[[], datetime] = field(default=clock)

    def __post_init__(self) -> None:
        """Refuse a namespace that would make keys unusable.

        Raises:
            ValueError: it is not made of 1 to 40 letters, digits, dots, hyphens and underscores.
        """
        plain = self.namespace.replace("-", "").replace("_", "").replace(".", "")
        if not (len(self.namespace) <= 40 and plain.isascii() and plain.isalnum()):
            raise ValueError(f"{self.namespace!r} is no namespace: write 1 to 40 letters, digits, dots and hyphens.")

    def track(
        self, name: str, external_customer_id: str, metadata: Mapping[str, Value] | None = None, *,
        key: str | None = None, cost_usd: Decimal | None = None, llm: Llm | None = None, at: datetime | None = None,
    ) -> str:
        """Put one event on record and return its key, made here if none is given. See `Event` for the arguments.

        When this returns, the event is committed, and Polar gets it once, whatever crashes. The same event with the
        same key again changes nothing, so that a caller who does not know whether it worked repeats it. The time is
        part of the contents where `at` is given.

        Raises:
            InvalidEvent: Polar would refuse it.
            KeyReused: the key is on record with other contents.
        """
        event = Event(name, external_customer_id, metadata or {}, key, cost_usd, llm, at)
        with self.db.session() as session:
            return self._record(session, [event], one=True)[0]

    def track_batch(self, events: Iterable[Event]) -> list[str]:
        """Put many events on record in one transaction, all or none; return their keys in order.

        Raises:
            InvalidEvent: names each bad event by its position.
            KeyReused: names the first event whose key is taken, on record or earlier in the batch.
        """
        with self.db.session() as session:
            return self._record(session, list(events), one=False)

    def track_in(self, session: Session, *events: Event) -> list[str]:
        """Put events on record in the caller's transaction, so that they are kept with the caller's own rows or not.

        The session is one of `db.session()`, which commits at its end. Raises as `track_batch`.
        """
        return self._record(session, events, one=False)

    def draft(self, event: Event) -> Draft:
        """Put on record what is reported if this process dies before it knows better.

        For anything whose outcome is known only after it was paid for. The draft goes to Polar by itself when nobody
        has noted or finished it for `DRAFT_LEASE`. It gets a key of its own, whatever the event's is.

        Raises:
            InvalidEvent: Polar would refuse it.
        """
        event = replace(event, key=None)
        with self.db.session() as session:
            [key] = self._record(session, [event], one=True, due=self.now() + DRAFT_LEASE)
        return Draft(self.db, replace(event, key=key), self.external_id(key), self.now)

    def check(self, account_id: str) -> Entitlement:
        """What an account may spend now: its `cost_budget_usd` is the most that one action may cost.

        For showing and for deciding early. It sets nothing aside: two who ask at once may be told the same. What may
        not pass the limit goes through `chatapp.agent.guard.guard`.

        Raises:
            SpendingRefused: it may spend nothing; `text` says why, `resets_at` until when, `next_step` what helps.
            UnknownAccount: there is no such account.
        """
        self.require_account(account_id)
        return admission.verdict(self.db, self.settings, account_id, self.now())

    def require_account(self, account_id: str) -> None:
        """Return if there is such an account.

        Raises:
            UnknownAccount: there is none.
        """
        with self.db.reading() as session:
            if session.get(Account, account_id) is None:
                raise UnknownAccount(f"There is no account {account_id!r}.")

    def external_id(self, key: str) -> str:
        """The id under which Polar knows the event with this key."""
        return f"{self.namespace}:{key}"

    def _record(
        self, session: Session, given: Sequence[Event], *, one: bool, due: datetime | None = None
    ) -> list[str]:
        now = self.now()
        require_valid(given, now, one=one)
        events = [event if event.key is not None else replace(event, key=new_id()) for event in given]
        payloads = [payload_of(event, self.external_id(event.key or ""), now) for event in events]
        accounts = _accounts(session, {event.external_customer_id for event in events})
        rows = [_row(payload, event, accounts, due or now + timedelta(microseconds=index))
                for index, (event, payload) in enumerate(zip(events, payloads, strict=True))]
        if rows:  # in one order for all, so that no two batches wait for each other's keys; but due as they were given
            session.exec(insert(session, OutboxMessage).on_conflict_do_nothing(index_elements=["channel", "key"]),
                         params=sorted(rows, key=itemgetter("key")), execution_options=statement)
        self._require_same(session, given, payloads)
        return [event.key or "" for event in events]

    def _require_same(self, session: Session, given: Sequence[Event], payloads: Sequence[Mapping[str, Any]]) -> None:
        """The keys that were given are on record with these contents, whoever wrote them."""
        keyed = [index for index, event in enumerate(given) if event.key is not None]
        recorded = _recorded(session, [payloads[index]["external_id"] for index in keyed])
        for index in keyed:
            mine, theirs = payloads[index], recorded[payloads[index]["external_id"]]
            if _contents(mine, given[index]) != _contents(theirs, given[index]):
                raise KeyReused(given[index].key or "", index)


def _row(payload: Mapping[str, Any], event: Event, accounts: set[str], due: datetime) -> dict[str, Any]:
    """An event as a row of the outbox, as `outbox.enqueue` writes one: many rows go in one statement."""
    customer = event.external_customer_id
    return {
        "id": new_id(), "channel": CHANNEL, "key": payload["external_id"], "payload": payload,
        "account_id": customer if customer in accounts else None, "attempts": 0, "next_attempt_at": due,
        "created_at": due, "reason": "",
    }


def _accounts(session: Session, customers: set[str]) -> set[str]:
    """Those of the customers that are accounts of ours: their events are theirs, and wait for no one else's."""
    found: set[str] = set()
    for part in _parts(sorted(customers)):
        found.update(session.exec(select(Account.id).where(col(Account.id).in_(part))).all())
    return found


def _recorded(session: Session, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for part in _parts(keys):
        found.update(session.exec(select(OutboxMessage.key, OutboxMessage.payload).where(
            OutboxMessage.channel == CHANNEL, col(OutboxMessage.key).in_(part))).all())
    return found


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), MOST_AT_ONCE):
        yield values[start:start + MOST_AT_ONCE]


def _contents(payload: Mapping[str, Any], event: Event) -> str:
    """What two events with one key must share: not the moment of the recording, if the event names no time."""
    kept = {name: value for name, value in payload.items() if event.at is not None or name != "occurred_at"}
    return json.dumps(kept, sort_keys=True)
