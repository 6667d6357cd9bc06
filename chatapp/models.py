"""All tables. Every table that has an owner names the account; money is integer nano-dollars; time is aware UTC.

Ids are UUIDv7 in text. Columns of JSON hold lists or objects that are read whole and never queried.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from chatapp.db import UtcDateTime, now
from chatapp.ids import new_id


def _time(*, nullable: bool = False, index: bool = False) -> Any:  # noqa: ANN401 - SQLModel's Field is untyped
    return Field(default=None if nullable else ..., sa_column=Column(UtcDateTime(), nullable=nullable, index=index))


def _created() -> Any:  # noqa: ANN401
    return Field(default_factory=now, sa_column=Column(UtcDateTime(), nullable=False))


def _nanousd() -> Any:  # noqa: ANN401
    return Field(default=0, sa_column=Column(BigInteger(), nullable=False))


def _json(default: Any) -> Any:  # noqa: ANN401
    return Field(default_factory=default, sa_column=Column(JSON(), nullable=False))


def _text() -> Any:  # noqa: ANN401
    return Field(default="", sa_column=Column(Text(), nullable=False))


def _account(*, primary_key: bool = False, index: bool = True) -> Any:  # noqa: ANN401
    return Field(sa_column=Column(String(36), ForeignKey("account.id"), primary_key=primary_key, nullable=False,
                                  index=index and not primary_key))


class Account(SQLModel, table=True):
    """The billed party. A person today, a team later; a visitor has one too, without a profile.

    Attributes:
        kind: `visitor` | `person` | `team`. A visitor's account becomes the person's at sign-up.
        merged_into: the account that took over this one's threads, when a visitor signed in to an existing account.
    """

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    kind: str = Field(default="visitor", max_length=16)
    merged_into: str | None = Field(default=None, max_length=36)
    created_at: datetime = _created()


class Profile(SQLModel, table=True):
    """A person who signs in. Its id is the `sub` of Supabase's token, never anything the person can write."""

    id: str = Field(primary_key=True, max_length=36)
    account_id: str = _account()
    email: str = Field(max_length=320, index=True)
    name: str = Field(default="", max_length=200)
    created_at: datetime = _created()


class ServerSession(SQLModel, table=True):
    """One browser's session. The browser holds a random token; only its SHA-256 is here.

    Attributes:
        profile_id: None for a visitor.
        refresh_token: Supabase's, encrypted with SECRET_KEY.
    """

    __tablename__ = "server_session"

    token_hash: str = Field(primary_key=True, max_length=64)
    account_id: str = _account()
    profile_id: str | None = Field(default=None, foreign_key="profile.id", index=True, max_length=36)
    supabase_session_id: str | None = Field(default=None, max_length=64)
    refresh_token: str = _text()
    user_agent: str = Field(default="", max_length=300)
    created_at: datetime = _created()
    idle_expires_at: datetime = _time()
    expires_at: datetime = _time()
    revoked_at: datetime | None = _time(nullable=True)


class Throttle(SQLModel, table=True):
    """How often a key (an address, an e-mail's hash) did something in a window."""

    key: str = Field(primary_key=True, max_length=200)
    window_start: datetime = Field(sa_column=Column(UtcDateTime(), primary_key=True))
    count: int = 0


class Thread(SQLModel, table=True):
    """One chat."""

    __table_args__ = (Index("ix_thread_account_updated", "account_id", "updated_at"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    account_id: str = _account(index=False)
    title: str = Field(default="", max_length=200)
    created_at: datetime = _created()
    updated_at: datetime = _created()


class Message(SQLModel, table=True):
    """A question or an answer. An answer's id is its turn's id.

    Attributes:
        role: `user` | `assistant`.
        status: `streaming` | `done` | `stopped` | `interrupted` | `failed`.
        parts: what the page shows in order, each an object with a `type` (text, search, code, …).
        sources: `{number, title, url, …}`; numbers are the server's.
        history: pydantic-ai's messages of this turn in JSON, for the next turn.
        error: what the person is told when status is `failed`.
        plan: the plan under which an answer was made.
        exact: False while any of its cost is an estimate.
    """

    __table_args__ = (Index("ix_message_thread_created", "thread_id", "created_at"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    thread_id: str = Field(foreign_key="thread.id", max_length=36)
    account_id: str = _account()
    role: str = Field(max_length=16)
    status: str = Field(default="done", max_length=16, index=True)
    text: str = _text()
    parts: list[dict[str, Any]] = _json(list)
    sources: list[dict[str, Any]] = _json(list)
    history: str = _text()
    error: str = _text()
    plan: str = Field(default="", max_length=50)
    model: str = Field(default="", max_length=200)
    cost_nanousd: int = _nanousd()
    charge_nanousd: int = _nanousd()
    exact: bool = True
    created_at: datetime = _created()
    finished_at: datetime | None = _time(nullable=True)


class Turn(SQLModel, table=True):
    """An answer being written: who writes it, and until when that is believed.

    A row exists only while the turn runs. A lease that has run out means that its process died.

    Attributes:
        counted: the quotas that its question was counted in, as `[account id, quota, start of the window]` each: the
            account is the one that asked, whoever has the chat by now.
    """

    id: str = Field(primary_key=True, max_length=36)
    account_id: str = _account()
    thread_id: str = Field(max_length=36, unique=True)
    runner: str = Field(max_length=64)
    lease_until: datetime = _time(index=True)
    stop_requested: bool = False
    counted: list[Any] = _json(list)
    created_at: datetime = _created()


class Chunk(SQLModel, table=True):
    """A numbered piece of an answer being written: what a reader in another process, or after a crash, finds.

    Deleted some minutes after the message was saved whole (`chat.chunks.sweep`).
    """

    message_id: str = Field(primary_key=True, max_length=36)
    number: int = Field(primary_key=True)
    data: str = _text()


class Figure(SQLModel, table=True):
    """A picture made by executed code."""

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    account_id: str = _account()
    message_id: str = Field(index=True, max_length=36)
    mime: str = Field(max_length=50)
    data: bytes = Field(sa_column=Column(LargeBinary(), nullable=False))


class Balance(SQLModel, table=True):
    """An account's running totals in its current period: what makes the check before a turn cost the same for ever.

    `charged + held` never passes `spend_limit` where there is one.

    Attributes:
        held_nanousd: the charges set aside by holds. held_cost_nanousd: their bounds in cost.
        spend_limit_nanousd: the customer's own choice; None for the plan's.
        switching_until: no question admitted before then may spend: a plan is being switched, or was until then.
    """

    account_id: str = _account(primary_key=True)
    period_start: datetime = _time()
    cost_nanousd: int = _nanousd()
    charged_nanousd: int = _nanousd()
    held_nanousd: int = _nanousd()
    held_cost_nanousd: int = _nanousd()
    spend_limit_nanousd: int | None = Field(default=None, sa_column=Column(BigInteger(), nullable=True))
    switching_until: datetime | None = _time(nullable=True)


class QuotaCount(SQLModel, table=True):
    """How much of a quota an account used in one window."""

    __tablename__ = "quota_count"

    account_id: str = _account(primary_key=True)
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
    account_id: str = _account()
    turn_id: str = Field(index=True, max_length=36)
    thread_id: str = Field(max_length=36)
    kind: str = Field(max_length=16)
    provider: str = Field(max_length=50)
    name: str = Field(max_length=200)
    amount_nanousd: int = _nanousd()
    cost_bound_nanousd: int = _nanousd()
    terms: dict[str, Any] = _json(dict)
    estimate: dict[str, Any] = _json(dict)
    bearer: str = Field(default="customer", max_length=16, sa_column_kwargs={"server_default": "customer"})
    placed_at: datetime = _created()
    lease_until: datetime = _time(index=True)


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
    account_id: str = _account(index=False)
    turn_id: str = Field(index=True, max_length=36)
    thread_id: str = Field(max_length=36)
    kind: str = Field(max_length=16)
    provider: str = Field(max_length=50)
    name: str = Field(max_length=200)
    billable: bool = True
    quantities: dict[str, Any] = _json(dict)
    terms: dict[str, Any] = _json(dict)
    cost_usd: str = Field(max_length=60)
    cost_nanousd: int = _nanousd()
    charge_nanousd: int = _nanousd()
    overrun_nanousd: int = _nanousd()
    exact: bool = True
    status: str = Field(default="ok", max_length=16)
    bearer: str = Field(default="customer", max_length=16, sa_column_kwargs={"server_default": "customer"})
    corrects: str | None = Field(default=None, max_length=36)
    occurred_at: datetime = _time()


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
    payload: dict[str, Any] = _json(dict)
    attempts: int = 0
    next_attempt_at: datetime = _created()
    lease_until: datetime | None = _time(nullable=True)
    delivered_at: datetime | None = _time(nullable=True)
    parked_at: datetime | None = _time(nullable=True)
    reason: str = _text()
    created_at: datetime = _created()


class InboxMessage(SQLModel, table=True):
    """A verified webhook, kept raw; its id is the sender's, so a second delivery is the same row."""

    __tablename__ = "inbox_message"
    __table_args__ = (Index("ix_inbox_due", "processed_at", "parked_at", "next_attempt_at"),)

    id: str = Field(primary_key=True, max_length=200)
    source: str = Field(max_length=16)
    type: str = Field(default="", max_length=100)
    body: str = _text()
    attempts: int = 0
    next_attempt_at: datetime = _created()
    lease_until: datetime | None = _time(nullable=True)
    processed_at: datetime | None = _time(nullable=True)
    parked_at: datetime | None = _time(nullable=True)
    reason: str = _text()
    received_at: datetime = _created()


class Subscription(SQLModel, table=True):
    """Polar's current word on what an account has subscribed to; written only from Polar's refetched state.

    Attributes:
        plan: the catalogue's key of the plan.
        status: Polar's (`active`, `trialing`, `past_due`, `canceled`, …).
        ends_at: when access ends, if it is to end.
        checkout_at: when the account was last sent to a checkout.
    """

    account_id: str = _account(primary_key=True)
    polar_subscription_id: str = Field(max_length=36)
    polar_customer_id: str = Field(max_length=36)
    plan: str = Field(max_length=50)
    status: str = Field(max_length=30)
    current_period_start: datetime = _time()
    current_period_end: datetime | None = _time(nullable=True)
    cancel_at_period_end: bool = False
    ends_at: datetime | None = _time(nullable=True)
    refreshed_at: datetime = _time()
    checkout_at: datetime | None = _time(nullable=True)


class PolarObject(SQLModel, table=True):
    """The id that Polar gave to something of our catalogue: `meter:usage` or `product:unlimited`."""

    __tablename__ = "polar_object"

    key: str = Field(primary_key=True, max_length=100)
    polar_id: str = Field(max_length=36)
    fingerprint: str = Field(default="", max_length=64)
    created_at: datetime = _created()


class JobRun(SQLModel, table=True):
    """A periodic job's run, claimed by its unique key, so that it runs once whatever the number of processes."""

    __tablename__ = "job_run"

    key: str = Field(primary_key=True, max_length=200)
    claimed_at: datetime = _created()
    lease_until: datetime = _time()
    finished_at: datetime | None = _time(nullable=True)
    outcome: str = Field(default="", sa_column=Column(Text(), nullable=False))
