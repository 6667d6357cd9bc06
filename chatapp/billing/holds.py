"""Holds: money set aside before a paid step is sent, so that nothing is spent that is not there.

`place` → (the step) → `ledger.settle`, or `release` if nothing was sent. While the step runs, `checkpoint` says what
it has used so far; `sweep` and `sweep_turn` settle with that the steps of a process that died.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import bindparam, func, insert, update
from sqlmodel import Session, col, select

from chatapp.billing import balances, corrections, ledger, pricing
from chatapp.billing.catalog import NO_LIMIT_USD
from chatapp.billing.entitlements import PLAN_CHANGING, Entitlement, spend_limit_nanousd
from chatapp.billing.hold_rows import CUSTOMER, Bearer, row_of, take
from chatapp.billing.hold_rows import LEASE as LEASE
from chatapp.billing.hold_rows import PlacedHold as PlacedHold
from chatapp.billing.money import cost_that_charges_at_most, floor_nanousd, format_usd, price, usd
from chatapp.billing.pricing import UnitPrices
from chatapp.billing.sql import columns_of, run, statement
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.ids import HoldId, new_id
from chatapp.models import Hold, UsageEvent

SWEEP_BATCH = 100
_PLACING = insert(Hold)

_log = logging.getLogger(__name__)


class InsufficientFunds(Exception):
    """The step does not fit into what the turn or the account may still spend; nothing was sent.

    Attributes:
        text: what the person is told.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def place(
    db: Database, entitlement: Entitlement, *, turn_id: str, thread_id: str, kind: Literal["model", "tool"],
    provider: str, name: str, prices: UnitPrices | None, bound_cost_usd: Decimal,
    quantities_bound: Mapping[str, int], bearer: Bearer = CUSTOMER, now: datetime,
) -> PlacedHold:
    """Set aside the charge of `bound_cost_usd`, the most that a step can cost.

    `quantities_bound` are the quantities of that bound: what a sweep starts from before the first checkpoint.
    Without `prices` the vendor reports the cost itself, and an unanswered step is taken to have cost its bound.
    What the platform bears (a side call) is noted in the same way, and counts towards no limit of the customer.

    Raises:
        InsufficientFunds: it does not fit; nothing is held and nothing must be sent.
    """
    plan = entitlement.plan
    billable = plan.billable and bearer == CUSTOMER
    bound = price(bound_cost_usd, markup=plan.markup, billable=billable)
    hold = PlacedHold(
        id=HoldId(new_id()), account_id=entitlement.account_id, turn_id=turn_id, thread_id=thread_id, kind=kind,
        provider=provider, name=name, plan_key=plan.key, markup=plan.markup, billable=billable,
        amount_nanousd=bound.charge_nanousd, cost_bound_nanousd=bound.cost_nanousd, prices=prices,
        bearer=bearer,
    )
    hold.cost_usd(quantities_bound, reported_usd=bound_cost_usd)  # a bucket without a price is found before it is used
    with db.session() as session:
        if bearer == CUSTOMER:
            _reserve(session, entitlement, hold, now)
        run(session, _PLACING, columns_of(row_of(hold, pricing.first_estimate(kind, quantities_bound), now)))
    return hold


def checkpoint(db: Database, hold: PlacedHold, estimate: Mapping[str, int], now: datetime) -> None:
    """Note what the step has used so far, and that its process lives. Nothing happens to a hold that is settled.

    Raises:
        UnpricedQuantity: the estimate has a bucket without a price, so that no sweep could settle with it.
    """
    hold.cost_usd(estimate, reported_usd=usd(hold.cost_bound_nanousd))
    with db.session() as session:
        session.exec(
            update(Hold).where(col(Hold.id) == hold.id).values(estimate=dict(estimate), lease_until=now + LEASE),
            execution_options=statement,
        )


def affordable_cost_usd(db: Database, entitlement: Entitlement, turn_id: str, now: datetime) -> Decimal:
    """How much cost, in dollars, the turn may still incur. A hold placed later may find less."""
    if not entitlement.limited:
        return NO_LIMIT_USD
    plan = entitlement.plan
    with db.session() as session:
        balance = balances.current(session, entitlement.account_id, now)
        left = [floor_nanousd(entitlement.cost_budget_usd) - _turn_cost_nanousd(session, turn_id)]
    if plan.allowance_usd is not None:
        left.append(floor_nanousd(plan.allowance_usd) - balance.cost_nanousd - balance.held_cost_nanousd)
    limit = spend_limit_nanousd(plan, balance.spend_limit_nanousd)
    if limit is not None:
        charge_left = limit - balance.charged_nanousd - balance.held_nanousd
        left.append(cost_that_charges_at_most(charge_left, markup=plan.markup))
    return usd(max(0, min(left)))


def release(db: Database, hold: PlacedHold, now: datetime | None = None) -> None:
    """Give the hold back: its step cost nothing. A settled or released hold stays so, but for a sweep's estimate."""
    with db.session() as session:
        row = take(session, hold.id)
        if row is not None:
            balances.unreserve(session, row)
        else:
            corrections.take_back(session, hold.id, now=now or clock())


def sweep(db: Database, now: datetime) -> int:
    """Settle the holds of processes that died, each with its last estimate; return how many."""
    with db.reading() as session:
        dead = session.exec(select(Hold).where(Hold.lease_until < now)
                            .order_by(col(Hold.lease_until), col(Hold.id)).limit(SWEEP_BATCH)).all()
    return sum(_settle_dead(db, row, now) for row in dead)


def sweep_turn(db: Database, turn_id: str, now: datetime) -> int:
    """Settle the holds of a turn whose process died, whatever their own leases say; return how many.

    The caller must have taken over the turn, so that no living process goes on with it.
    """
    with db.reading() as session:
        dead = session.exec(select(Hold).where(Hold.turn_id == turn_id).order_by(col(Hold.id))).all()
    return sum(_settle_dead(db, row, now, turn_died=True) for row in dead)


def _settle_dead(db: Database, row: Hold, now: datetime, *, turn_died: bool = False) -> bool:
    try:
        event = ledger.settle_dead(db, row, now, turn_died=turn_died)
    except Exception:  # one hold that cannot be settled must not keep the others: it stays open, and is tried again
        _log.exception("Hold %s of turn %s cannot be settled with its estimate.", row.id, row.turn_id)
        return False
    if event is None:
        return False
    _log.warning("Hold %s of turn %s never came back: its estimate of %s nano-dollars is borne by the %s.",
                 event.id, event.turn_id, event.cost_nanousd, event.bearer)
    return True


def _reserve(session: Session, entitlement: Entitlement, hold: PlacedHold, now: datetime) -> None:
    admitted_at = entitlement.admitted_at or now

    def reserved() -> bool:
        return balances.reserve(session, hold.account_id, entitlement.plan, admitted_at=admitted_at,
                                charge_nanousd=hold.amount_nanousd, cost_nanousd=hold.cost_bound_nanousd)
    if not reserved():
        # The account's first step, or the first of a new period, finds its row only now.
        balance = balances.current(session, hold.account_id, now)
        if balance.switching_until is not None and balance.switching_until > admitted_at:
            raise InsufficientFunds(PLAN_CHANGING)
        if not reserved():
            raise InsufficientFunds(
                f"The next step could cost up to {format_usd(hold.amount_nanousd or hold.cost_bound_nanousd)}, "
                "more than what is left of your limit in this period."
            )
    if not entitlement.limited:
        return
    total = _turn_cost_nanousd(session, hold.turn_id) + hold.cost_bound_nanousd
    if total > floor_nanousd(entitlement.cost_budget_usd):
        raise InsufficientFunds("This question has used what a single question may cost.")


def _turn_cost_nanousd(session: Session, turn_id: str) -> int:
    """What the turn has cost and may yet cost. After `balances` locked the account, no one else can change it."""
    return int(run(session, _TURN_COST, {"turn": turn_id}).scalar_one())


_TURN_COST = select(
    select(func.coalesce(func.sum(UsageEvent.cost_nanousd), 0))
    .where(UsageEvent.turn_id == bindparam("turn"), UsageEvent.bearer == CUSTOMER).scalar_subquery()
    + select(func.coalesce(func.sum(Hold.cost_bound_nanousd), 0))
    .where(Hold.turn_id == bindparam("turn"), Hold.bearer == CUSTOMER).scalar_subquery()
)
