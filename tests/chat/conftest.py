"""A room in which answers are written: the real database, ledger and agent, with a model that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo
from sqlmodel import col, select

from chatapp import services as build_services
from chatapp.billing.admission import quota_used
from chatapp.billing.catalog import FREE
from chatapp.chat.answers import Answers
from chatapp.chat.turns import Prompt
from chatapp.db import Database, now
from chatapp.ids import AccountId
from chatapp.models import Account, Hold, Message, Thread, Turn, UsageEvent
from chatapp.services import Services
from chatapp.settings import load
from tests.agent.conftest import Library, Piece, Sandbox, saying, scripted


@dataclass
class Pen:
    """A model that writes what the test lets it write: `write` hands it pieces, `lift` ends the answer."""

    waiting: asyncio.Queue[Piece | Exception | None] = field(default_factory=asyncio.Queue)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, *pieces: Piece | Exception) -> None:
        for piece in pieces:
            self.waiting.put_nowait(piece)

    def lift(self) -> None:
        self.waiting.put_nowait(None)

    @property
    def model(self) -> Model:
        async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
            self.started.set()
            while (piece := await self.waiting.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece

        return scripted(script)


def halting(text: str) -> Model:
    """A model that says this much and then nothing, until it is cancelled."""

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        yield text
        await asyncio.Event().wait()

    return scripted(script)


@dataclass
class Room:
    """One process that writes answers, and one account that asks."""

    services: Services
    account_id: AccountId
    answers: Answers

    @property
    def db(self) -> Database:
        return self.services.db

    def neighbour(self, model: Model | None = None) -> Room:
        """Another process over the same database."""
        services = self.services if model is None else replace(self.services, model=cast(Any, model))
        return Room(services, self.account_id, Answers(services))

    async def ask(self, text: str = "Why?", thread_id: str | None = None) -> Prompt:
        return await self.answers.ask(self.account_id, thread_id, text)

    async def ended(self, prompt: Prompt) -> Message:
        """Wait until the answer is saved."""
        live = self.answers._live[prompt.message_id]
        assert live.task is not None
        await asyncio.wait([live.task], timeout=20)
        return self.message(prompt)

    async def followed(self, prompt: Prompt, after: int = 0) -> list[tuple[int, str]]:
        """Everything that a reader gets until the ending."""
        async with aclosing(cast(Any, self.answers.follow(self.account_id, prompt.message_id, after))) as items:
            return [item async for item in items]

    def message(self, prompt: Prompt) -> Message:
        with self.db.reading() as session:
            return session.get_one(Message, prompt.message_id)

    def question(self, prompt: Prompt) -> Message:
        with self.db.reading() as session:
            return session.exec(select(Message).where(Message.thread_id == prompt.thread_id, Message.role == "user")
                                .order_by(col(Message.id))).all()[-1]

    def counted(self) -> int:
        """How many questions are counted against the free plan today."""
        with self.db.reading() as session:
            return sum(quota_used(session, self.account_id, FREE, now()).values())

    def rows(self, *tables: Any) -> list[Any]:
        with self.db.reading() as session:
            return [row for table in tables for row in session.exec(select(table)).all()]

    def assert_nothing_is_open(self) -> None:
        """No turn and no hold; every answer costs what the ledger says."""
        assert self.rows(Turn, Hold) == []
        for message in self.rows(Message):
            events = [event for event in self.rows(UsageEvent)
                      if event.turn_id == message.id and event.bearer == "customer"]
            assert message.cost_nanousd == sum(event.cost_nanousd for event in events)
            assert message.charge_nanousd == sum(event.charge_nanousd for event in events)


MakeRoom = Callable[[Model], Room]


@pytest.fixture
async def make_room(db: Database) -> AsyncIterator[MakeRoom]:
    """Makes a room with this model; its answers are interrupted at the end."""
    async for made in _rooms(db):
        yield made


@pytest.fixture
async def make_sqlite_room(sqlite_db: Database) -> AsyncIterator[MakeRoom]:
    """The same, where the kind of database does not matter."""
    async for made in _rooms(sqlite_db):
        yield made


async def _rooms(db: Database) -> AsyncIterator[MakeRoom]:
    settings = load({"LIMITS": "on", "DATABASE_URL": db.url if db.is_sqlite else ""})
    built = build_services.build(settings)
    made: list[Room] = []

    def make(model: Model) -> Room:
        services = replace(built, db=db, model=cast(Any, model), valyu=cast(Any, Library()),
                           code_runner=cast(Any, Sandbox()))
        room = Room(services, account(db), Answers(services))
        made.append(room)
        return room

    yield make
    for room in made:
        await room.answers.close()
    await built.polar.close()
    await built.valyu.close()
    await built.http.aclose()


def account(db: Database, kind: str = "person") -> AccountId:
    with db.session() as session:
        row = Account(kind=kind)
        session.add(row)
    return AccountId(row.id)


async def until(condition: Callable[[], object] | Callable[[], Awaitable[object]], seconds: float = 15) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


__all__ = ["MakeRoom", "Pen", "Room", "Thread", "account", "halting", "saying", "until"]
