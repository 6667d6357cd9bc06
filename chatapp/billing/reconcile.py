"""Reconciliation: our own books (`books`), and the ledger against Polar's meter, per account and period."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func
from sqlmodel import and_, col, select

from chatapp.billing import balances, periods, provision
from chatapp.billing.books import Difference as Difference
from chatapp.billing.books import local_differences as local_differences
from chatapp.billing.delivery import RECENT
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.clients.errors import Unavailable
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
PAUSE_SECONDS = 0.2
"""Between two questions: Polar allows some hundred requests a minute, and deliveries need theirs."""
PATIENCE_SECONDS = (1.0, 5.0, 20.0)
LONGEST_WAIT_SECONDS = 60.0
NOT_COMPARED = "not compared"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    """Whole UTC days, the only thing that Polar adds up: from `start` (included) to `end` (excluded).

    Of one account, or of all (None).
    """

    account_id: str | None
    start: datetime
    end: datetime


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
    services: Services, account_id: str | None = None, *, thorough: bool = True,
    patience_seconds: Sequence[float] = PATIENCE_SECONDS,
) -> list[Difference]:
    """All differences, of one account or of all. A difference is logged as an error; nothing is corrected.

    With Polar each account is compared twice: from the day on which its present period began, and before it. Not
    `thorough`, Polar is asked for its sum over all accounts first, and for each account's only if that one differs.

    A moment in which Polar does not answer is waited out, with these pauses. If it lasts, what was not compared is a
    difference, too.

    Raises:
        Rejected: Polar refuses our token.
        Unavailable: Polar was away from the beginning, and our own books agree.
    """
    at = now()
    differences = await asyncio.to_thread(local_differences, services.db, at, account_id)
    for difference in differences:
        _log.error("Reconciliation: %s", difference.in_words())
    with services.db.reading() as session:
        meter_id = provision.required(session, services.settings).meter_id
    windows = await asyncio.to_thread(_windows, services.db, at, account_id)
    if windows and not thorough and not await _difference(services, meter_id, _around(windows)):
        return differences
    for number, window in enumerate(windows):
        try:
            found = await _patiently(services, meter_id, window, patience_seconds)
        except Unavailable:
            if number == 0 and not differences:
                raise
            found = Difference("", NOT_COMPARED, Decimal(len(windows) - number), Decimal(0))
        if found:
            _log.error("Reconciliation: %s", found.in_words())
            differences.append(found)
            if found.what == NOT_COMPARED:
                break
        await asyncio.sleep(PAUSE_SECONDS if number + 1 < len(windows) else 0)
    return differences


async def _patiently(
    services: Services, meter_id: str, window: _Window, pauses: Sequence[float]
) -> Difference | None:
    for pause in pauses:
        try:
            return await _difference(services, meter_id, window)
        except Unavailable as error:
            _log.warning("Reconciliation waits: %s", error)
            await asyncio.sleep(max(pause, min(error.retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS)))
    return await _difference(services, meter_id, window)


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
    return Difference(window.account_id or "", "ledger and Polar", microusd(after.charge), theirs, window.start)


def _windows(db: Database, at: datetime, account_id: str | None) -> list[_Window]:
    """For each account with billable usage its present period, and all time before it, as far as there is usage.

    Both by whole days: the period's first day, on which the one before it ended, counts to the present one.
    """
    query = (select(UsageEvent.account_id, func.min(UsageEvent.occurred_at), func.max(UsageEvent.occurred_at))
             .where(col(UsageEvent.billable)).group_by(UsageEvent.account_id))
    if account_id is not None:
        query = query.where(UsageEvent.account_id == account_id)
    windows, end = [], periods.day(at).end + MARGIN
    with db.reading() as session:
        for account, first, last in session.exec(query).all():
            cut = periods.day(balances.period_of(session, account, at).start).start
            if first < cut:
                windows.append(_Window(account, periods.day(first).start, cut))
            if last + BLUR >= cut:
                windows.append(_Window(account, cut, end))
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
