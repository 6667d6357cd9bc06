"""Corrections: a ledger row never changes, so one row takes it back and another one says what is right.

The two have ids made from the corrected row's, so that a correction which is repeated, here or at Polar, counts once.
A customer never pays more by a correction than by the row it corrects: what is above that, the platform bears.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from chatapp.billing import balances, ledger_rows
from chatapp.billing.hold_rows import CUSTOMER
from chatapp.billing.money import price
from chatapp.db import Database
from chatapp.models import UsageEvent

REVERSAL, CORRECTED = "reversal", "corrected"


class NotCorrectable(Exception):
    """There is no such row, it is one that takes another back, or it is corrected already."""


def correct(
    db: Database, event_id: str, quantities: Mapping[str, int] | None, cost_usd: Decimal, *, reason: str, now: datetime
) -> UsageEvent:
    """Enter what a step really used and cost.

    Args:
        db: the database.
        event_id: the row that is wrong.
        quantities: what was really used; None where only the cost was wrong.
        cost_usd: what it really cost, in dollars.
        reason: for whoever reads the ledger.
        now: when the correction is entered; it counts in the period of that moment.

    Returns:
        The row that stands from now on.

    Raises:
        NotCorrectable: there is no such row, it is a reversal, or another row stands in its place already.
        ValueError: a cost below zero.
    """
    with db.session() as session:
        event = session.get(UsageEvent, event_id)
        if event is None or event.status == REVERSAL:
            raise NotCorrectable(f"The ledger has no row {event_id!r} that could be corrected.")
        if (standing := session.get(UsageEvent, _id(event, CORRECTED))) is not None:
            raise NotCorrectable(f"That row is corrected already; correct {standing.id}, which stands in its place.")
        return correct_in(session, event, event.quantities if quantities is None else quantities, cost_usd,
                          reason=reason, now=now)


def take_back(session: Session, event_id: str, *, now: datetime) -> None:
    """A step that a sweep took for dead cost nothing after all: correct its estimate. Any other row stays."""
    event = session.get(UsageEvent, event_id)
    if event is not None and is_presumed(event):
        correct_in(session, event, {}, Decimal(0), reason="The step had cost nothing.", now=now)


def is_presumed(event: UsageEvent) -> bool:
    """Whether the row is a sweep's estimate of a step that was taken for dead."""
    return event.status == "interrupted" and not event.exact


def correct_in(
    session: Session, event: UsageEvent, quantities: Mapping[str, int], cost_usd: Decimal, *, reason: str,
    now: datetime, bearer: str | None = None,
) -> UsageEvent:
    """`correct` in the caller's transaction; a row that is corrected already stays so. `bearer` if it changes, too."""
    balances.current(session, event.account_id, now)  # the account's lock: of two corrections, the second waits
    done = session.get(UsageEvent, _id(event, CORRECTED))
    if done is not None:
        return done
    right = _corrected(event, quantities, cost_usd, reason, now, bearer or event.bearer)
    for row in (_reversal(event, reason, now), right):
        ledger_rows.enter(session, row)
    return right


def _reversal(event: UsageEvent, reason: str, now: datetime) -> UsageEvent:
    return _successor(
        event, REVERSAL, reason, now, quantities={bucket: -count for bucket, count in event.quantities.items()},
        cost_usd=format(-Decimal(event.cost_usd), "f"), cost_nanousd=-event.cost_nanousd,
        charge_nanousd=-event.charge_nanousd, overrun_nanousd=-event.overrun_nanousd, exact=event.exact,
    )


def _corrected(
    event: UsageEvent, quantities: Mapping[str, int], cost_usd: Decimal, reason: str, now: datetime, bearer: str
) -> UsageEvent:
    billable = event.billable and bearer == CUSTOMER
    real = price(cost_usd, markup=Decimal(event.terms["markup"]), billable=billable)
    charge_nanousd = min(real.charge_nanousd, event.charge_nanousd)
    return _successor(
        event, CORRECTED, reason, now, quantities=dict(quantities), cost_usd=format(cost_usd, "f"),
        cost_nanousd=real.cost_nanousd, charge_nanousd=charge_nanousd,
        overrun_nanousd=real.charge_nanousd - charge_nanousd, exact=bearer == event.bearer, bearer=bearer,
        billable=billable,
    )


def _successor(
    event: UsageEvent, status: str, reason: str, now: datetime, **figures: Any,  # noqa: ANN401 - the columns
) -> UsageEvent:
    same = event.model_dump(include={"account_id", "turn_id", "thread_id", "kind", "provider", "name", "billable",
                                     "bearer"})
    return UsageEvent(id=_id(event, status), status=status, corrects=event.id, occurred_at=now,
                      terms={**event.terms, "reason": reason}, **{**same, **figures})


def corrected_id(event_id: str) -> str:
    """The id of the row that stands in place of a corrected one; whether there is one, it does not say."""
    return _derived(event_id, CORRECTED)


def _id(event: UsageEvent, status: str) -> str:
    return _derived(event.id, status)


def _derived(event_id: str, status: str) -> str:
    return str(uuid.uuid5(uuid.UUID(event_id), status))
