"""A step ends while the database takes nothing down: what it really used is entered once the database works again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo
from sqlalchemy import text

from chatapp.db import Database

from .conftest import Desk, Piece, scripted


def change(db: Database, sql: str) -> None:
    with db.session() as session:
        session.connection().execute(text(sql))


async def test_a_step_that_ends_while_the_disk_is_full_is_charged_what_it_really_used(sqlite_desk: Desk) -> None:
    db, full = sqlite_desk.db, asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        yield "Because of "
        change(db, "CREATE TRIGGER no_room BEFORE INSERT ON usage_event BEGIN SELECT RAISE(ABORT, 'no room'); END")
        full.set()
        yield "scattering."

    answering = asyncio.create_task(sqlite_desk.ask(scripted(script)))
    await full.wait()
    await asyncio.sleep(0.1)  # the answer ends meanwhile, and cannot be settled
    assert sqlite_desk.ledger() == []
    change(db, "DROP TRIGGER no_room")
    await answering
    [row] = sqlite_desk.ledger()
    assert (row.exact, row.status) == (True, "ok")
    sqlite_desk.assert_settled()
