"""Calendar arithmetic: the next period's end, and the start of the interval that a moment lies in."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from typing import Literal

Interval = Literal["hour", "day", "week", "month", "year"]


def later(at: datetime, interval: str, count: int = 1) -> datetime:
    """The moment `count` intervals after `at`; the 31st becomes the last day of a shorter month."""
    if interval == "hour":
        return at + timedelta(hours=count)
    if interval in {"day", "week"}:
        return at + timedelta(days=count * (7 if interval == "week" else 1))
    months = at.month - 1 + count * (12 if interval == "year" else 1)
    year, month = at.year + months // 12, months % 12 + 1
    return at.replace(year=year, month=month, day=min(at.day, calendar.monthrange(year, month)[1]))


def truncate(at: datetime, interval: str) -> datetime:
    """The start of the hour, day, week (Monday), month or year of `at`, in its own time zone."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    if interval == "hour":
        return hour
    day = hour.replace(hour=0)
    if interval == "week":
        return day - timedelta(days=day.weekday())
    if interval == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if interval == "year" else day
