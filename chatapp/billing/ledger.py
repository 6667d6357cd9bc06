"""The ledger: one immutable row per paid step, written with its message to Polar and the totals, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from chatapp.billing import balances, outbox
from chatapp.billing.hold_rows import PlacedHold, hold_of, take
from chatapp.billing.money import price, usd
from chatapp.billing.usage_payload import payload_of
from chatapp.db import Database
from chatapp.models import Hold, UsageEvent

CHANNEL = "usage"

_log = logging.getLogger(__name__)


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
    cost_usd: Decimal | None = None, now: datetime,
) -> UsageEvent:
    """Enter what a step really used, once: settling the same hold again returns the row that is there.

    The charge is never above the hold; what is above it is recorded as the overrun, which the platform bears.
    `status` is `ok` | `stopped` | `failed` | `interrupted`. A `cost_usd` is the one that the vendor reported, in
    dollars, and wins over the unit prices.

    Raises:
        UnpricedQuantity: the cost is unknown. The hold stays open, and a sweep settles it with its estimate.
        UnknownHold: the hold was released.
    """
    cost = cost_usd if cost_usd is not None else hold.cost_usd(quantities)
    event = _event(hold, quantities, cost, exact=exact, status=status, now=now)
    with db.session() as session:
        row = take(session, hold.id)
        if row is None:
            settled = _settled(session, hold)
            _report_late(settled, event)
            return settled
        _enter(session, row, event)
    return event


def settle_dead(db: Database, row: Hold, now: datetime, *, turn_died: bool = False) -> UsageEvent | None:
    """Settle a hold whose process died with its last estimate; None if it was settled or revived meanwhile.

    That it died is told by the hold's lease, which has run out; with `turn_died` by the caller, who took over the turn.
    """
    hold = hold_of(row)
    with db.session() as session:
        taken = take(session, row.id, dead_at=None if turn_died else now)
        if taken is None:
            return None
        quantities = {bucket: int(quantity) for bucket, quantity in taken.estimate.items()}
        cost = hold.cost_usd(quantities, reported_usd=usd(taken.cost_bound_nanousd))
        event = _event(hold, quantities, cost, exact=False, status="interrupted", now=now)
        _enter(session, taken, event)
    return event


def turn_total(db: Database, turn_id: str) -> Total:
    """What a turn has cost and what is charged for it."""
    with db.reading() as session:
        return _total(session, UsageEvent.turn_id == turn_id)


def period_total(db: Database, account_id: str, now: datetime) -> Total:
    """What an account has cost and is charged for in the period around `now`."""
    with db.reading() as session:
        start = balances.period_of(session, account_id, now).start
        return _total(session, UsageEvent.account_id == account_id, UsageEvent.occurred_at >= start)


def _event(
    hold: PlacedHold, quantities: Mapping[str, int], cost_usd: Decimal, *, exact: bool, status: str, now: datetime
) -> UsageEvent:
    if not exact:
        cost_usd = min(cost_usd, usd(hold.cost_bound_nanousd))
    real = price(cost_usd, markup=hold.markup, billable=hold.billable)
    charge_nanousd = min(real.charge_nanousd, hold.amount_nanousd)
    overrun_nanousd = real.charge_nanousd - charge_nanousd
    if overrun_nanousd:
        _log.error("Step %s of %s cost more than its bound: the platform bears %s nano-dollars.",
                   hold.id, hold.name, overrun_nanousd)
    return UsageEvent(
        id=hold.id, account_id=hold.account_id, turn_id=hold.turn_id, thread_id=hold.thread_id, kind=hold.kind,
        provider=hold.provider, name=hold.name, billable=hold.billable, quantities=dict(quantities),
        terms=hold.terms, cost_usd=format(cost_usd, "f"), cost_nanousd=real.cost_nanousd,
        charge_nanousd=charge_nanousd, overrun_nanousd=overrun_nanousd, exact=exact, status=status, occurred_at=now,
    )


def _enter(session: Session, row: Hold, event: UsageEvent) -> None:
    balances.unreserve(session, row)
    balances.enter(session, event)
    session.add(event)
    outbox.enqueue(session, CHANNEL, event.id, payload_of(event), event.account_id, due=event.occurred_at)


def _settled(session: Session, hold: PlacedHold) -> UsageEvent:
    event = session.get(UsageEvent, hold.id)
    if event is None:
        raise UnknownHold(f"Hold {hold.id} is not open and has no ledger row: it was released.")
    return event


def _report_late(settled: UsageEvent, real: UsageEvent) -> None:
    """What a step really used has arrived after a sweep had entered its estimate: that row stands; tell both."""
    if real.exact and not settled.exact and real.cost_nanousd != settled.cost_nanousd:
        _log.error("Step %s of %s was settled with an estimate of %s nano-dollars, and really cost %s: the real "
                   "figures came after its lease had run out.", settled.id, settled.name, settled.cost_nanousd,
                   real.cost_nanousd)


def _total(session: Session, *where: Any) -> Total:  # noqa: ANN401 - comparisons of columns are typed bool
    cost, charge, estimates, billed = session.exec(
        select(
            func.coalesce(func.sum(UsageEvent.cost_nanousd), 0), func.coalesce(func.sum(UsageEvent.charge_nanousd), 0),
            func.count().filter(col(UsageEvent.exact).is_(False)), func.count().filter(col(UsageEvent.billable)),
        ).where(*where)
    ).one()
    return Total(int(cost), int(charge), exact=estimates == 0, billable=billed > 0)
