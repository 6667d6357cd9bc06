"""The ledger: one immutable row per paid step, entered once, and what a turn's rows come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import case, func
from sqlmodel import Session, col, select

from chatapp.billing import balances, corrections, pricing
from chatapp.billing.hold_rows import CUSTOMER, PLATFORM, Bearer, PlacedHold, hold_of, take
from chatapp.billing.ledger_rows import CHANNEL as CHANNEL
from chatapp.billing.ledger_rows import enter, event_of
from chatapp.billing.money import usd
from chatapp.db import Database
from chatapp.models import Hold, UsageEvent

MOST_BORNE_NANOUSD = 10**9
"""How much the platform bears of an account's own steps within a day: a dollar. Somebody may cause such steps on
purpose, by questions over which a model thinks until it is given up."""
LATE = "The real figures came after the step had been taken for dead."


class UnknownHold(Exception):
    """A hold is neither open nor settled: it was released, or never placed."""


@dataclass(frozen=True)
class Total:
    """A sum over ledger rows.

    Attributes:
        exact: False if any of them is an estimate.
        billable: whether any of them is billed.
    """

    cost_nanousd: int
    charge_nanousd: int
    exact: bool
    billable: bool


def settle(
    db: Database, hold: PlacedHold, quantities: Mapping[str, int], *, exact: bool, status: str,
    cost_usd: Decimal | None = None, bearer: Bearer = CUSTOMER, now: datetime,
) -> UsageEvent:
    """Enter what a step really used, once: settling the same hold again returns the row that stands.

    A step that a sweep took for dead, and settled with an estimate, is corrected when its real figures come.

    The charge is never above the hold; what is above it is recorded as the overrun, which the platform bears.
    `status` is `ok` | `stopped` | `failed` | `interrupted`. A `cost_usd` is the one that the vendor reported, in
    dollars, and wins over the unit prices. With `bearer` the platform pays, although the money was the customer's
    (`_borne`).

    Raises:
        UnpricedQuantity: the cost is unknown. The hold stays open, and a sweep settles it with its estimate.
        UnknownHold: the hold was released.
    """
    cost = cost_usd if cost_usd is not None else hold.cost_usd(quantities)
    event = event_of(hold, quantities, cost, exact=exact, status=status, bearer=bearer, now=now)
    with db.session() as session:
        row = take(session, hold.id)
        if row is None:
            return _standing(session, event)
        return _end(session, row, event)


def settle_dead(db: Database, row: Hold, now: datetime, *, turn_died: bool = False) -> UsageEvent | None:
    """Settle a hold whose process died with its last estimate; None if it was settled or revived meanwhile.

    The customer pays for an answer as far as it had come; the platform bears a step that had brought nothing yet.
    That the process died is told by the hold's lease, which has run out; with `turn_died` by the caller, who took over
    the turn.
    """
    hold = hold_of(row)
    with db.session() as session:
        taken = take(session, row.id, dead_at=None if turn_died else now)
        if taken is None:
            return None
        quantities = {bucket: int(quantity) for bucket, quantity in taken.estimate.items()}
        cost = hold.cost_usd(quantities, reported_usd=usd(taken.cost_bound_nanousd))
        bearer: Bearer = CUSTOMER if pricing.has_output(quantities) else PLATFORM
        event = event_of(hold, quantities, cost, exact=False, status="interrupted", bearer=bearer, now=now)
        return _end(session, taken, event)


def turn_total(session: Session, turn_id: str) -> Total:
    """What a turn has cost and what is charged for it, without what the platform bears."""
    return _total(session, UsageEvent.turn_id == turn_id, UsageEvent.bearer == CUSTOMER)


def _end(session: Session, taken: Hold, event: UsageEvent) -> UsageEvent:
    """Enter the row in place of its hold. What the platform may bear no more is the customer's after all."""
    balances.unreserve(session, taken)
    if event.bearer != taken.bearer and not _borne(session, event, event.occurred_at):
        event = event_of(hold_of(taken), event.quantities, Decimal(event.cost_usd), exact=event.exact,
                         status=event.status, now=event.occurred_at)
    enter(session, event)
    return event


def _standing(session: Session, late: UsageEvent) -> UsageEvent:
    """The row of a hold that was settled before `late` could settle it."""
    settled = session.get(UsageEvent, late.id)
    if settled is None:
        raise UnknownHold(f"Hold {late.id} is not open and has no ledger row: it was released.")
    if not corrections.is_presumed(settled):
        return settled
    balances.current(session, late.account_id, late.occurred_at)  # the account's lock, for what is read from here on
    if (done := session.get(UsageEvent, corrections.corrected_id(settled.id))) is not None:
        return done
    # What the platform bears it goes on bearing; what is the customer's it may take over, as at first.
    bearer = PLATFORM if settled.bearer == PLATFORM or _borne(session, late, late.occurred_at) else CUSTOMER
    if not late.exact and bearer == settled.bearer:
        return settled
    return corrections.correct_in(session, settled, late.quantities, Decimal(late.cost_usd), reason=LATE,
                                  now=late.occurred_at, bearer=bearer)


def _borne(session: Session, event: UsageEvent, now: datetime) -> bool:
    """Whether the platform bears this row as it wants to: of an account's steps no more than MOST_BORNE_NANOUSD a day.

    The caller has the account's lock, so that of two steps the second one sees what the first one cost.
    """
    if event.bearer == CUSTOMER:
        return False
    mine = (UsageEvent.account_id == event.account_id, UsageEvent.occurred_at > now - timedelta(days=1))
    taken_back = select(UsageEvent.corrects).where(*mine, UsageEvent.status == corrections.REVERSAL)
    borne = session.exec(select(func.coalesce(func.sum(UsageEvent.cost_nanousd), 0)).where(
        *mine, UsageEvent.bearer == PLATFORM, UsageEvent.status != corrections.REVERSAL,
        col(UsageEvent.id).not_in(taken_back))).one()
    return int(borne) + event.cost_nanousd <= MOST_BORNE_NANOUSD


def _total(session: Session, *where: Any) -> Total:  # noqa: ANN401 - comparisons of columns are typed bool
    estimate = case((col(UsageEvent.exact), 0), (col(UsageEvent.status) == corrections.REVERSAL, -1), else_=1)
    cost, charge, estimates, billed = session.exec(
        select(
            func.coalesce(func.sum(UsageEvent.cost_nanousd), 0), func.coalesce(func.sum(UsageEvent.charge_nanousd), 0),
            func.coalesce(func.sum(estimate), 0), func.count().filter(col(UsageEvent.billable)),
        ).where(*where)
    ).one()
    return Total(int(cost), int(charge), exact=estimates == 0, billable=billed > 0)
