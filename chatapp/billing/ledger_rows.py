"""How a row of the ledger is made and entered: with its message to Polar and the running totals, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import insert
from sqlmodel import Session

from chatapp.billing import balances, outbox
from chatapp.billing.hold_rows import CUSTOMER, PLATFORM, Bearer, PlacedHold
from chatapp.billing.money import price, usd
from chatapp.billing.sql import columns_of, run
from chatapp.billing.usage_payload import payload_of
from chatapp.models import UsageEvent

CHANNEL = "usage"
_ENTERING = insert(UsageEvent)

_log = logging.getLogger(__name__)


def event_of(
    hold: PlacedHold, quantities: Mapping[str, int], cost_usd: Decimal, *, exact: bool, status: str, now: datetime,
    bearer: Bearer = CUSTOMER,
) -> UsageEvent:
    """The row that settles a hold. An estimate never exceeds the bound, and no charge exceeds what was held."""
    if not exact:
        cost_usd = min(cost_usd, usd(hold.cost_bound_nanousd))
    bearer = PLATFORM if PLATFORM in (bearer, hold.bearer) else CUSTOMER
    billable = hold.billable and bearer == CUSTOMER
    real = price(cost_usd, markup=hold.markup, billable=billable)
    charge_nanousd = min(real.charge_nanousd, hold.amount_nanousd)
    overrun_nanousd = real.charge_nanousd - charge_nanousd
    return UsageEvent(
        id=hold.id, account_id=hold.account_id, turn_id=hold.turn_id, thread_id=hold.thread_id, kind=hold.kind,
        provider=hold.provider, name=hold.name, billable=billable, quantities=dict(quantities),
        terms=hold.terms, cost_usd=format(cost_usd, "f"), cost_nanousd=real.cost_nanousd,
        charge_nanousd=charge_nanousd, overrun_nanousd=overrun_nanousd, exact=exact, status=status, bearer=bearer,
        occurred_at=now,
    )


def enter(session: Session, event: UsageEvent) -> None:
    """Add the row in the caller's transaction, count it, and queue it for Polar."""
    if event.overrun_nanousd > 0 and not event.corrects:
        _log.error("Step %s of %s cost more than its bound: the platform bears %s nano-dollars.",
                   event.id, event.name, event.overrun_nanousd)
    balances.enter(session, event)
    run(session, _ENTERING, columns_of(event))
    outbox.enqueue(session, CHANNEL, event.id, payload_of(event), event.account_id, due=event.occurred_at)
