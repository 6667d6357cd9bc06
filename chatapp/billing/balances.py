"""The running totals of an account's period, and the one statement that keeps spending below its limits.

Every statement that places, settles or releases money first updates the account's row here. That row is thereby the
account's lock: what a transaction reads after it, no other transaction of the same account can change meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Executable, and_, bindparam, func, update
from sqlmodel import Session, col, select

from chatapp.billing import periods
from chatapp.billing.catalog import Plan
from chatapp.billing.entitlements import spend_limit_nanousd
from chatapp.billing.hold_rows import CUSTOMER
from chatapp.billing.money import floor_nanousd
from chatapp.billing.sql import insert, run
from chatapp.models import Balance, Hold, Subscription, UsageEvent

ONGOING = ("active", "trialing", "past_due")
"""The states in which a subscription at Polar has periods and gives its plan."""


def reserve(
    session: Session, account_id: str, plan: Plan, *, admitted_at: datetime, charge_nanousd: int, cost_nanousd: int
) -> bool:
    """Set money aside if the account's limits allow it; False if they do not. One conditional UPDATE.

    A question that was admitted before a switch of plan ended gets nothing: it would be charged by the old plan, and
    Polar would bill it to the new one.
    """
    by_charge, by_cost = plan.limited and plan.billable, plan.limited and plan.allowance_usd is not None
    changed = run(session, _reserving(by_charge=by_charge, by_cost=by_cost), {
        "account": account_id, "admitted_at": admitted_at, "charge": charge_nanousd, "cost": cost_nanousd,
        **({"plan_limit": spend_limit_nanousd(plan, None)} if by_charge else {}),
        **({"allowance": floor_nanousd(plan.allowance_usd or Decimal(0))} if by_cost else {}),
    })
    return changed.first() is not None


def unreserve(session: Session, hold: Hold) -> None:
    """Give back what a hold set aside: nothing, where the platform pays for the step."""
    if hold.bearer == CUSTOMER:
        run(session, _UNRESERVING, {"account": hold.account_id, "charge": hold.amount_nanousd,
                                    "cost": hold.cost_bound_nanousd})


def enter(session: Session, event: UsageEvent) -> None:
    """Count a ledger row in the running totals, if it belongs to their period and the customer bears it."""
    if event.bearer == CUSTOMER:
        run(session, _ENTERING, {"account": event.account_id, "charge": event.charge_nanousd,
                                 "cost": event.cost_nanousd, "occurred_at": event.occurred_at})


@cache
def _reserving(*, by_charge: bool, by_cost: bool) -> Executable:
    charge: BindParameter[int] = bindparam("charge")
    cost: BindParameter[int] = bindparam("cost")
    until = col(Balance.switching_until)
    limits: list[ColumnElement[bool]] = [until.is_(None) | (until <= bindparam("admitted_at"))]
    if by_charge:
        limit = func.coalesce(col(Balance.spend_limit_nanousd), bindparam("plan_limit", type_=BigInteger()))
        committed = col(Balance.charged_nanousd) + col(Balance.held_nanousd) + charge
        limits.append(limit.is_(None) | (committed <= limit))
    if by_cost:
        committed = col(Balance.cost_nanousd) + col(Balance.held_cost_nanousd) + cost
        limits.append(committed <= bindparam("allowance"))
    return (update(Balance).where(_MINE, and_(*limits))
            .values(held_nanousd=Balance.held_nanousd + charge, held_cost_nanousd=Balance.held_cost_nanousd + cost)
            .returning(col(Balance.account_id)))


_MINE = col(Balance.account_id) == bindparam("account")
_UNRESERVING = update(Balance).where(_MINE).values(
    held_nanousd=Balance.held_nanousd - bindparam("charge"),
    held_cost_nanousd=Balance.held_cost_nanousd - bindparam("cost"))
_ENTERING = update(Balance).where(_MINE, col(Balance.period_start) <= bindparam("occurred_at")).values(
    cost_nanousd=Balance.cost_nanousd + bindparam("cost"),
    charged_nanousd=Balance.charged_nanousd + bindparam("charge"))


@dataclass(frozen=True)
class Spent:
    """What an account has cost in a period, and what it is charged for it, in nano-dollars."""

    cost_nanousd: int
    charge_nanousd: int


def spent(session: Session, account_id: str, now: datetime) -> Spent:
    """What was spent in the period around `now`: the running totals, or where they are older, the ledger's sum."""
    start = period_of(session, account_id, now).start
    balance = session.get(Balance, account_id)
    if balance is not None and balance.period_start == start:
        return Spent(balance.cost_nanousd, balance.charged_nanousd)
    return _spent_since(session, account_id, start)


def period_of(session: Session, account_id: str, now: datetime) -> periods.Period:
    """The period that the account's spending is summed over: its subscription's, or the calendar month."""
    found = session.get(Subscription, account_id)
    if found is None or found.status not in ONGOING:
        return periods.month(now)
    return periods.subscription_period(found.current_period_start, found.current_period_end, now)


def current(session: Session, account_id: str, now: datetime) -> Balance:
    """The account's balance in the period around `now`, locked until the transaction ends.

    A new period begins with what the ledger says of it.
    """
    start = period_of(session, account_id, now).start
    session.exec(insert(session, Balance).values(
        account_id=account_id, period_start=start, cost_nanousd=0, charged_nanousd=0, held_nanousd=0,
        held_cost_nanousd=0,
    ).on_conflict_do_nothing())
    # The sums are read by a statement of their own after the lock: on Postgres a statement that had to wait for a
    # lock still sees other tables as they were before.
    balance = session.exec(select(Balance).where(Balance.account_id == account_id).with_for_update(),
                           execution_options={"populate_existing": True}).one()
    if balance.period_start != start:
        found = _spent_since(session, account_id, start)
        balance.period_start = start
        balance.cost_nanousd, balance.charged_nanousd = found.cost_nanousd, found.charge_nanousd
        session.flush()
    return balance


def _spent_since(session: Session, account_id: str, start: datetime) -> Spent:
    cost, charge = session.exec(
        select(func.coalesce(func.sum(UsageEvent.cost_nanousd), 0),
               func.coalesce(func.sum(UsageEvent.charge_nanousd), 0))
        .where(UsageEvent.account_id == account_id, UsageEvent.occurred_at >= start, UsageEvent.bearer == CUSTOMER)
    ).one()
    return Spent(int(cost), int(charge))
