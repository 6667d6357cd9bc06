"""Drafts: what is on record before its outcome is known."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlmodel import select

from chatapp.billing import delivery, outbox
from chatapp.billing.ingestion import DRAFT_LEASE, Event, InvalidEvent, PolarIngestion
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import OutboxMessage
from chatapp.settings import Settings
from tests.billing.conftest import NOON
from tests.billing.town import Town

ESTIMATE, REAL = Event("llm", "customer-1", {"tokens": 10}), Event("llm", "customer-1", {"tokens": 12})


@dataclass
class Clock:
    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def at() -> Clock:
    return Clock()


@pytest.fixture
def ingestion(db: Database, settings: Settings, at: Clock) -> PolarIngestion:
    return PolarIngestion(db, settings, now=at)


def due(db: Database, at: Callable[[], datetime]) -> list[int]:
    """What a worker gets at that time, and gives back."""
    claimed = outbox.claim(db, "usage", 9, 1, at())
    return [message.payload["metadata"]["tokens"] for message in claimed]


def test_a_draft_that_nobody_ends_is_reported_as_it_stands(ingestion: PolarIngestion, db: Database, at: Clock) -> None:
    draft = ingestion.draft(ESTIMATE)
    at.at += timedelta(minutes=3)
    draft.note(Event("llm", "customer-1", {"tokens": 11}))
    at.at += DRAFT_LEASE - timedelta(seconds=1)
    assert due(db, at) == []
    at.at += timedelta(seconds=2)
    assert due(db, at) == [11]


def test_a_finished_draft_is_reported_at_once_and_nothing_changes_it(
    ingestion: PolarIngestion, db: Database, at: Clock
) -> None:
    draft = ingestion.draft(ESTIMATE)
    draft.finish(REAL)
    draft.note(ESTIMATE)
    draft.finish(ESTIMATE)
    draft.withdraw()
    assert due(db, at) == [12]


def test_a_withdrawn_draft_is_never_reported(ingestion: PolarIngestion, db: Database, at: Clock) -> None:
    draft = ingestion.draft(ESTIMATE)
    draft.withdraw()
    draft.note(REAL)
    draft.finish(REAL)
    with db.reading() as session:
        assert session.exec(select(OutboxMessage)).all() == []


def test_a_draft_that_polar_may_have_is_not_changed_and_both_are_told(
    ingestion: PolarIngestion, db: Database, at: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    draft = ingestion.draft(ESTIMATE)
    at.at += DRAFT_LEASE + timedelta(seconds=1)
    assert due(db, at) == [10]
    with caplog.at_level(logging.ERROR):
        draft.finish(REAL)
        late = ingestion.draft(ESTIMATE)
        at.at += DRAFT_LEASE + timedelta(seconds=1)
        assert due(db, at) == [10, 10]
        late.withdraw()
    assert "was reported as its draft before its figures came" in caplog.text
    assert "was reported as its draft before it was withdrawn" in caplog.text
    at.at += timedelta(hours=1)
    assert due(db, at) == [10, 10]


def test_a_draft_keeps_its_estimate_when_its_figures_are_refused(
    ingestion: PolarIngestion, db: Database, at: Clock
) -> None:
    draft = ingestion.draft(ESTIMATE)
    with pytest.raises(InvalidEvent, match="is nan"):
        draft.finish(Event("llm", "customer-1", {"tokens": float("nan")}))
    at.at += DRAFT_LEASE + timedelta(seconds=1)
    assert due(db, at) == [10]


def test_a_late_note_never_takes_the_place_of_the_figures(ingestion: PolarIngestion, db: Database, at: Clock) -> None:
    for _ in range(10):
        draft = ingestion.draft(ESTIMATE)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                pool.submit(draft.note, ESTIMATE)
            pool.submit(draft.finish, REAL)
            pool.submit(draft.note, ESTIMATE)
        assert due(db, at) == [12]


async def test_drafts_and_their_ends_arrive_once(db: Database, settings: Settings, town: Town) -> None:
    ingestion = PolarIngestion(db, settings, now=lambda: clock() - DRAFT_LEASE)
    ingestion.draft(ESTIMATE)
    ingestion.draft(ESTIMATE).finish(REAL)
    ingestion.draft(ESTIMATE).withdraw()
    assert await delivery.deliver(town.services) == 2
    assert sorted(event["metadata"]["tokens"] for event in await town.events()) == [10, 12]
