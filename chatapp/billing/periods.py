"""Windows of time: a quota's day, and the period that a customer's spending is summed over."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Period:
    """From `start` (included) to `end` (excluded), aware UTC."""

    start: datetime
    end: datetime


def day(now: datetime) -> Period:
    """The UTC day around `now`."""
    start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(start, start + timedelta(days=1))


def month(now: datetime) -> Period:
    """The UTC calendar month around `now`: the period of an account without a subscription."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Period(start, _months_after(start, 1))


def subscription_period(start: datetime, end: datetime | None, now: datetime) -> Period:
    """The subscription's period around `now`.

    It is the one that Polar named last. Once that has ended and Polar's word on the next one is still under way, the
    next ones follow at monthly steps from the same day of the month.
    """
    if end is None:
        end = _months_after(start, 1)
    steps, from_, to = 0, start, end
    while to <= now:
        steps += 1
        from_, to = to, _months_after(end, steps)
    return Period(from_, to)


def _months_after(moment: datetime, months: int) -> datetime:
    years, month0 = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    last = calendar.monthrange(year, month0 + 1)[1]
    return moment.replace(year=year, month=month0 + 1, day=min(moment.day, last))
