"""Leases on periodic and exclusive jobs: a unique key, so that each runs once whatever the number of processes."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, or_, update
from sqlmodel import col

from chatapp.billing.sql import insert, statement
from chatapp.db import Database
from chatapp.models import JobRun


def claim(db: Database, key: str, lease_seconds: float, now: datetime, *, repeats: bool = False) -> bool:
    """Whether the job with this key is ours to run now.

    A job that names its occasion (`reconcile:2026-11-20T14`) runs once, and again only if whoever ran it died. With
    `repeats` the key is a lock: free again as soon as it is finished.
    """
    until = now + timedelta(seconds=lease_seconds)
    died = and_(col(JobRun.finished_at).is_(None), col(JobRun.lease_until) < now)
    free = or_(died, col(JobRun.finished_at).is_not(None)) if repeats else died
    with db.session() as session:
        claimed = session.exec(insert(session, JobRun).values(
            key=key, claimed_at=now, lease_until=until, outcome="",
        ).on_conflict_do_update(
            index_elements=["key"], set_={"claimed_at": now, "lease_until": until, "finished_at": None}, where=free,
        ).returning(col(JobRun.key)))
        return claimed.first() is not None


def finish(db: Database, key: str, outcome: str, now: datetime) -> None:
    """The job is done; `outcome` is for the operator to read."""
    with db.session() as session:
        session.exec(update(JobRun).where(col(JobRun.key) == key).values(finished_at=now, outcome=outcome),
                     execution_options=statement)


def give_up(db: Database, key: str, outcome: str, now: datetime) -> None:
    """The job failed; whoever claims it next may run it at once."""
    with db.session() as session:
        session.exec(update(JobRun).where(col(JobRun.key) == key)
                     .values(lease_until=now - timedelta(seconds=1), outcome=outcome), execution_options=statement)
