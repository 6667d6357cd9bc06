"""Accounts, and rows by the million: one is made by the app's own code, and copied inside the database.

A copy differs in its ids, its account and its time. So the rows have every column that the app writes, at the length
that it has in life, and a million of them take seconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlmodel import select

from chatapp.billing import balances, holds, ledger
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.pricing import UnitPrices
from chatapp.db import Database, now
from chatapp.models import Account, OutboxMessage, Subscription, UsageEvent

PRICES = UnitPrices("openai", "gpt-4o-mini", "benchmark", {
    "input_tokens": Decimal("0.00000015"), "cache_read_tokens": Decimal("0.000000075"),
    "cache_write_tokens": Decimal("0.00000015"), "output_tokens": Decimal("0.0000006"),
})
BOUND_USD = Decimal("0.0009")
BOUND = {"input_tokens": 2000, "output_tokens": 1000}
USED = {"input_tokens": 1812, "cache_read_tokens": 1024, "output_tokens": 296}
LIMIT_NANOUSD = 10**15
"""A million dollars: no writer is refused for want of money."""
BIG = "account-big"
"""The account that owns most of the ledger."""
SHARE_OF_BIG = 6
"""Of ten rows."""


def add_accounts(db: Database, names: list[str], *, pay_per_use: bool, at: datetime) -> None:
    """Make accounts of people: on the free plan, or with a subscription whose period began with the month.

    They have a limit that is not reached.
    """
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    with db.session() as session:
        session.add_all(Account(id=name, kind="person") for name in names)
        session.flush()
        if pay_per_use:
            session.add_all(Subscription(
                account_id=name, polar_subscription_id="subscription", polar_customer_id="customer",
                plan=PAY_PER_USE.key, status="active", current_period_start=start,
                current_period_end=start + timedelta(days=32), refreshed_at=at) for name in names)
        session.flush()
        for name in names:
            balances.current(session, name, at).spend_limit_nanousd = LIMIT_NANOUSD


def one_step(db: Database, account_id: str, turn_id: str) -> UsageEvent:
    """A model request from hold to ledger, as the app does it."""
    may = Entitlement(account_id, PAY_PER_USE, Decimal(5), limited=True)
    hold = holds.place(db, may, turn_id=turn_id, thread_id="thread", kind="model", provider=PRICES.provider,
                       name=PRICES.name, prices=PRICES, bound_cost_usd=BOUND_USD, quantities_bound=BOUND, now=now())
    return ledger.settle(db, hold, USED, exact=True, status="ok", now=now())


class Copier:
    """Copies one settled step's rows. Its own account keeps its books by itself."""

    def __init__(self, db: Database) -> None:
        self._db = db
        add_accounts(db, ["account-template"], pay_per_use=True, at=now())
        self._event = one_step(db, "account-template", "turn-template").id
        with db.session() as session:
            message = session.exec(select(OutboxMessage).where(OutboxMessage.key == self._event)).one()
            message.delivered_at = now()  # so that it is not delivered as one of the copies
        self._message = message.id

    def ledger(self, first: int, count: int, *, owners: int, since: datetime, until: datetime) -> None:
        """Add `count` ledger rows numbered from `first`, three to a turn, evenly over the time.

        BIG owns six of ten, `account-0` … `account-{owners - 1}` the others. The totals do not know of them.
        """
        number = self._number
        self._copy("usage_event", self._event, first, count, {
            "id": f"'event-' || {number('n')}", "turn_id": f"'turn-' || {number('n / 3')}",
            "account_id": f"CASE WHEN n % 10 < {SHARE_OF_BIG} THEN '{BIG}' "
                          f"ELSE 'account-' || CAST((n / 10) % {owners} AS VARCHAR) END",
            "occurred_at": self._moment(f"(n - {first}) * {(until - since).total_seconds() / count}"),
        }, since)

    def outbox(self, name: str, count: int, *, owners: int, since: datetime) -> None:
        """Add `count` messages to Polar that wait, a millisecond apart: `name`-numbered, of different accounts."""
        key = f"'{name}-' || {self._number('n')}"
        account = f"'account-' || CAST(n % {owners} AS VARCHAR)"
        payload = (f"replace(replace(CAST(template.payload AS TEXT), '{self._event}', {key}), "
                   f"'account-template', {account})")
        moment = self._moment("n * 0.001")
        self._copy("outbox_message", self._message, 0, count, {
            "id": key, "key": key, "account_id": account, "delivered_at": "NULL",
            "payload": payload if self._db.is_sqlite else f"CAST({payload} AS JSON)",
            "created_at": moment, "next_attempt_at": moment,
        }, since)

    def _copy(self, table: str, template: str, first: int, count: int, changed: dict[str, str],
              since: datetime) -> None:
        with self._db.engine.begin() as connection:
            columns = list(connection.execute(text(f"SELECT * FROM {table} LIMIT 0")).keys())
            values = ", ".join(changed.get(column, f"template.{column}") for column in columns)
            connection.execute(text(
                f"INSERT INTO {table} ({', '.join(columns)}) "
                f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers "
                f"WHERE n < {first + count - 1}) "
                f"SELECT {values} FROM numbers CROSS JOIN {table} AS template WHERE template.id = :template"
            ), {"template": template, "since": self._literal(since)})

    def _number(self, expression: str) -> str:
        """As text of one length, so that ids sort as the app's do."""
        return f"CAST(1000000000 + {expression} AS VARCHAR)"

    def _moment(self, seconds: str) -> str:
        """An SQL expression: `:since` and so many seconds, in the form in which the app stores a time."""
        if self._db.is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f000', :since, ({seconds}) || ' seconds')"
        return f"CAST(:since AS TIMESTAMPTZ) + ({seconds}) * interval '1 second'"

    def _literal(self, moment: datetime) -> object:
        return moment.strftime("%Y-%m-%d %H:%M:%S") if self._db.is_sqlite else moment
