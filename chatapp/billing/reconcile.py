"""Reconciliation: our own books (`books`), and the ledger against Polar's meter, per account and period."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func
from sqlmodel import and_, col, select

from chatapp.billing import balances, provision
from chatapp.billing.books import Difference as Difference
from chatapp.billing.books import local_differences as local_differences
from chatapp.billing.delivery import RECENT
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.db import Database, now
from chatapp.models import OutboxMessage, UsageEvent

if TYPE_CHECKING:
    from chatapp.services import Services

SETTLING = timedelta(minutes=1)
"""How long an event that Polar has taken may be missing from its sums."""
BLUR = RECENT + SETTLING
"""A young event is dated by Polar, at its arrival: by so much later than by us."""
MARGIN = timedelta(days=1)
INSTANT = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    """From `start` (included) to `end` (excluded), of one account or of all (None).

    With `period` it is a period's: `start` or `end` cuts through the account's events.
    """

    account_id: str | None
    start: datetime
    end: datetime
    period: datetime | None = None


@dataclass(frozen=True)
class _Range:
    """What Polar's sum over a window can be, in nano-dollars, and what it should come to."""

    least: int
    most: int
    charge: int

    def or_else(self, later: _Range) -> _Range:
        return _Range(min(self.least, later.least), max(self.most, later.most), later.charge)

    def holds(self, theirs: Decimal) -> bool:
        return microusd(self.least) <= theirs <= microusd(self.most)


async def reconcile(
    services: Services, account_id: str | None = None, *, thorough: bool = True
) -> list[Difference]:
    """All differences, of one account or of all. A difference is logged as an error; nothing is corrected.

    Not `thorough`, Polar is asked for its sum over all accounts first, and for each account's only if that one
    differs: one request, where otherwise there are up to two for each account, its present period and all before it.

    Raises:
        Unavailable, Rejected: Polar's side could not be read.
    """
    at = now()
    differences = await asyncio.to_thread(local_differences, services.db, at, account_id)
    with services.db.reading() as session:
        meter_id = provision.required(session, services.settings).meter_id
    windows = await asyncio.to_thread(_windows, services.db, at, account_id)
    if windows and (thorough or await _difference(services, meter_id, _around(windows))):
        for window in windows:
            found = await _difference(services, meter_id, window)
            differences += [found] if found else []
    for difference in differences:
        _log.error("Reconciliation: %s", difference)
    return differences


async def _difference(services: Services, meter_id: str, window: _Window) -> Difference | None:
    """The window's figures, if they do not agree. What is delivered while Polar answers may be in its sum, or not."""
    before = await asyncio.to_thread(_range, services.db, window, now())
    theirs = await services.polar.meter_quantity(meter_id, window.start, window.end - INSTANT,
                                                 external_id=window.account_id)
    if before.holds(theirs):
        return None
    after = before.or_else(await asyncio.to_thread(_range, services.db, window, now()))
    if after.holds(theirs):
        return None
    return Difference(window.account_id or "", "ledger and Polar", microusd(after.charge), theirs, window.period)


def _windows(db: Database, at: datetime, account_id: str | None) -> list[_Window]:
    """For each account with billable usage its present period, and all time before it, as far as there is usage."""
    query = (select(UsageEvent.account_id, func.min(UsageEvent.occurred_at), func.max(UsageEvent.occurred_at))
             .where(col(UsageEvent.billable)).group_by(UsageEvent.account_id))
    if account_id is not None:
        query = query.where(UsageEvent.account_id == account_id)
    windows = []
    with db.reading() as session:
        for account, first, last in session.exec(query).all():
            period = balances.period_of(session, account, at).start
            if first < period:
                windows.append(_Window(account, first - MARGIN, period, first))
            if last + BLUR >= period:
                windows.append(_Window(account, period, at + MARGIN, period))
    return windows


def _around(windows: list[_Window]) -> _Window:
    return _Window(None, min(window.start for window in windows), max(window.end for window in windows))


def _range(db: Database, window: _Window, at: datetime) -> _Range:
    """The sum that Polar must have by now, and what may be in it besides: deliveries under way, a date at the edge."""
    mine = [col(UsageEvent.billable), col(UsageEvent.occurred_at) >= window.start - BLUR,
            col(UsageEvent.occurred_at) < window.end]
    if window.account_id is not None:
        mine.append(col(UsageEvent.account_id) == window.account_id)
    delivered = and_(col(OutboxMessage.delivered_at).is_not(None), col(OutboxMessage.delivered_at) < at - SETTLING)
    inside = and_(col(UsageEvent.occurred_at) >= window.start, col(UsageEvent.occurred_at) < window.end - BLUR)
    sure, positive = and_(delivered, inside), col(UsageEvent.charge_nanousd) > 0
    with db.reading() as session:
        certain, more, less, charge = session.exec(
            select(_sum(sure), _sum(~sure & positive), _sum(~sure & ~positive),
                   _sum(col(UsageEvent.occurred_at) >= window.start))
            .join(OutboxMessage, and_(OutboxMessage.key == UsageEvent.id, OutboxMessage.channel == CHANNEL))
            .where(*mine)
        ).one()
    return _Range(int(certain + less), int(certain + more), int(charge))


def _sum(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(UsageEvent.charge_nanousd).filter(which), 0)
