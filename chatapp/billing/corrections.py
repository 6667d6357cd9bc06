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
from chatapp.billing.money import price
from chatapp.db import Database
from chatapp.models import UsageEvent

REVERSAL, CORRECTED = "reversal", "corrected"


class NotCorrectable(Exception):
    """There is no such row, or it is one that takes another back."""


def correct(
    db: Database, event_id: str, quantities: Mapping[str, int] | None, cost_usd: Decimal, *, reason: str, now: datetime
) -> UsageEvent:
    """Enter what a step really used and cost; a row that is corrected already stays so.

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
        NotCorrectable: there is no such row, or it is a reversal.
        ValueError: a cost below zero.
    """
    with db.session() as session:
        event = session.get(UsageEvent, event_id)
        if event is None or event.status == REVERSAL:
            raise NotCorrectable(f"The ledger has no row {event_id!r} that could be corrected.")
        return correct_in(session, event, event.quantities if quantities is None else quantities, cost_usd,
                          reason=reason, now=now)


def correct_in(
    session: Session, event: UsageEvent, quantities: Mapping[str, int], cost_usd: Decimal, *, reason: str,
    now: datetime,
) -> UsageEvent:
    """`correct` in the caller's transaction."""
    balances.current(session, event.account_id, now)  # the account's lock: of two corrections, the second waits
    done = session.get(UsageEvent, _id(event, CORRECTED))
    if done is not None:
        return done
    right = _corrected(event, quantities, cost_usd, reason, now)
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
    event: UsageEvent, quantities: Mapping[str, int], cost_usd: Decimal, reason: str, now: datetime
) -> UsageEvent:
    real = price(cost_usd, markup=Decimal(event.terms["markup"]), billable=event.billable)
    charge_nanousd = min(real.charge_nanousd, event.charge_nanousd)
    return _successor(
        event, CORRECTED, reason, now, quantities=dict(quantities), cost_usd=format(cost_usd, "f"),
        cost_nanousd=real.cost_nanousd, charge_nanousd=charge_nanousd,
        overrun_nanousd=real.charge_nanousd - charge_nanousd, exact=True,
    )


def _successor(
    event: UsageEvent, status: str, reason: str, now: datetime, **figures: Any,  # noqa: ANN401 - the columns
) -> UsageEvent:
    same = event.model_dump(include={"account_id", "turn_id", "thread_id", "kind", "provider", "name", "billable",
                                     "bearer"})
    return UsageEvent(id=_id(event, status), status=status, corrects=event.id, occurred_at=now,
                      terms={**event.terms, "reason": reason}, **same, **figures)


def _id(event: UsageEvent, status: str) -> str:
    return str(uuid.uuid5(uuid.UUID(event.id), status))
