"""What is spent and paid: holds, the ledger, the plans' mirror, and what goes to and comes from the vendors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from chatapp.db import UtcDateTime
from chatapp.ids import new_id
from chatapp.models.columns import account_column, created_column, json_column, nanousd_column, text_column, time_column


class Balance(SQLModel, table=True):
    """An account's running totals in its current period: what makes the check before a turn cost the same for ever.

    `charged + held` never passes `spend_limit` where there is one.

    Attributes:
        held_nanousd: the charges set aside by holds. held_cost_nanousd: their bounds in cost.
        spend_limit_nanousd: the customer's own choice; None for the plan's.
        switching_until: no question admitted before then may spend: a plan is being switched, or was until then.
    """

    account_id: str = account_column(primary_key=True)
    period_start: datetime = time_column()
    cost_nanousd: int = nanousd_column()
    charged_nanousd: int = nanousd_column()
    held_nanousd: int = nanousd_column()
    held_cost_nanousd: int = nanousd_column()
    spend_limit_nanousd: int | None = Field(default=None, sa_column=Column(BigInteger(), nullable=True))
    switching_until: datetime | None = time_column(nullable=True)


class QuotaCount(SQLModel, table=True):
    """How much of a quota an account used in one window."""

    __tablename__ = "quota_count"

    account_id: str = account_column(primary_key=True)
    quota: str = Field(primary_key=True, max_length=50)
    window_start: datetime = Field(sa_column=Column(UtcDateTime(), primary_key=True))
    count: int = 0


class Hold(SQLModel, table=True):
    """Money set aside for one paid step, from before the call until it is settled.

    Attributes:
        kind: `model` | `tool`.
        amount_nanousd: the charge that is set aside (0 for usage that is included).
        cost_bound_nanousd: the most that the step can cost.
        terms: plan, markup, billable, unit prices, price book version: what the settlement is computed with.
        estimate: quantities known so far; what a sweeper settles with when the process died.
        bearer: `customer` | `platform`, which nothing is set aside for.
        lease_until: when the step is taken for dead.
    """

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    account_id: str = account_column()
    turn_id: str = Field(index=True, max_length=36)
    thread_id: str = Field(max_length=36)
    kind: str = Field(max_length=16)
    provider: str = Field(max_length=50)
    name: str = Field(max_length=200)
    amount_nanousd: int = nanousd_column()
    cost_bound_nanousd: int = nanousd_column()
    terms: dict[str, Any] = json_column(dict)
    estimate: dict[str, Any] = json_column(dict)
    bearer: str = Field(default="customer", max_length=16, sa_column_kwargs={"server_default": "customer"})
    placed_at: datetime = created_column()
    lease_until: datetime = time_column(index=True)


class UsageEvent(SQLModel, table=True):
    """One ledger row: a paid step that happened. Rows never change; a correction is a new row.

    Attributes:
        id: the hold's id; also the idempotency key at Polar.
        billable: True → sent as `usage` and billed; False → `usage.included`.
        quantities: e.g. `{"input_tokens": 812, "output_tokens": 96}`.
        terms: plan, markup, unit prices and the price book's version: with the quantities they make the cost.
        cost_nanousd: what we pay. charge_nanousd: what we bill.
        overrun_nanousd: charge above the hold that the platform bears.
        exact: False for an estimate.
        status: `ok` | `stopped` | `failed` | `interrupted`, or of a correction's two rows `reversal` and `corrected`.
        bearer: `customer`, or `platform` for what no customer is charged for: it counts towards no limit of theirs.
        corrects: the id of the row that this one takes back (`reversal`) or replaces (`corrected`).
    """

    __tablename__ = "usage_event"
    __table_args__ = (Index("ix_usage_event_account_time", "account_id", "occurred_at"),)

    id: str = Field(primary_key=True, max_length=36)
    account_id: str = account_column(index=False)
    turn_id: str = Field(index=True, max_length=36)
    thread_id: str = Field(max_length=36)
    kind: str = Field(max_length=16)
    provider: str = Field(max_length=50)
    name: str = Field(max_length=200)
    billable: bool = True
    quantities: dict[str, Any] = json_column(dict)
    terms: dict[str, Any] = json_column(dict)
    cost_usd: str = Field(max_length=60)
    cost_nanousd: int = nanousd_column()
    charge_nanousd: int = nanousd_column()
    overrun_nanousd: int = nanousd_column()
    exact: bool = True
    status: str = Field(default="ok", max_length=16)
    bearer: str = Field(default="customer", max_length=16, sa_column_kwargs={"server_default": "customer"})
    corrects: str | None = Field(default=None, max_length=36)
    occurred_at: datetime = time_column()


_WAITING = "delivered_at IS NULL AND parked_at IS NULL"


class OutboxMessage(SQLModel, table=True):
    """Something that must reach a vendor once: written in the transaction that causes it.

    Attributes:
        channel: `usage` (Polar) | `mail` (Resend).
        key: the idempotency key at the vendor, unique per channel.
        parked_at: set when the vendor refuses it for good; `reason` says why.
    """

    __tablename__ = "outbox_message"
    __table_args__ = (
        UniqueConstraint("channel", "key"),
        # What waits, oldest first, and nothing else: a claim reads a batch of it, however long the queue is.
        Index("ix_outbox_waiting", "channel", "created_at", "id", sqlite_where=text(_WAITING),
              postgresql_where=text(_WAITING)),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    channel: str = Field(max_length=16)
    key: str = Field(max_length=200)
    account_id: str | None = Field(default=None, foreign_key="account.id", index=True, max_length=36)
    payload: dict[str, Any] = json_column(dict)
    attempts: int = 0
    next_attempt_at: datetime = created_column()
    lease_until: datetime | None = time_column(nullable=True)
    delivered_at: datetime | None = time_column(nullable=True)
    parked_at: datetime | None = time_column(nullable=True)
    reason: str = text_column()
    created_at: datetime = created_column()


class InboxMessage(SQLModel, table=True):
    """A verified webhook, kept raw; its id is the sender's, so a second delivery is the same row."""

    __tablename__ = "inbox_message"
    __table_args__ = (Index("ix_inbox_due", "processed_at", "parked_at", "next_attempt_at"),)

    id: str = Field(primary_key=True, max_length=200)
    source: str = Field(max_length=16)
    type: str = Field(default="", max_length=100)
    body: str = text_column()
    attempts: int = 0
    next_attempt_at: datetime = created_column()
    lease_until: datetime | None = time_column(nullable=True)
    processed_at: datetime | None = time_column(nullable=True)
    parked_at: datetime | None = time_column(nullable=True)
    reason: str = text_column()
    received_at: datetime = created_column()


class Subscription(SQLModel, table=True):
    """Polar's current word on what an account has subscribed to; written only from Polar's refetched state.

    Attributes:
        plan: the catalogue's key of the plan.
        status: Polar's (`active`, `trialing`, `past_due`, `canceled`, …).
        ends_at: when access ends, if it is to end.
        checkout_at: when the account was last sent to a checkout.
    """

    account_id: str = account_column(primary_key=True)
    polar_subscription_id: str = Field(max_length=36)
    polar_customer_id: str = Field(max_length=36)
    plan: str = Field(max_length=50)
    status: str = Field(max_length=30)
    current_period_start: datetime = time_column()
    current_period_end: datetime | None = time_column(nullable=True)
    cancel_at_period_end: bool = False
    ends_at: datetime | None = time_column(nullable=True)
    refreshed_at: datetime = time_column()
    checkout_at: datetime | None = time_column(nullable=True)


class PolarObject(SQLModel, table=True):
    """The id that Polar gave to something of our catalogue: `meter:usage` or `product:unlimited`."""

    __tablename__ = "polar_object"

    key: str = Field(primary_key=True, max_length=100)
    polar_id: str = Field(max_length=36)
    fingerprint: str = Field(default="", max_length=64)
    created_at: datetime = created_column()


class JobRun(SQLModel, table=True):
    """A periodic job's run, claimed by its unique key, so that it runs once whatever the number of processes."""

    __tablename__ = "job_run"

    key: str = Field(primary_key=True, max_length=200)
    claimed_at: datetime = created_column()
    lease_until: datetime = time_column()
    finished_at: datetime | None = time_column(nullable=True)
    outcome: str = Field(default="", sa_column=Column(Text(), nullable=False))
