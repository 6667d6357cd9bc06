"""Readers of an answer, wherever it is written, whatever becomes of its writer or of the database."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import select

from chatapp.chat import chunks, turns
from chatapp.chat.answers import KEEP_ENDED_SECONDS
from chatapp.chat.draft import Draft
from chatapp.chat.turns import LEASE
from chatapp.db import now
from chatapp.models import Chunk, Message, Turn
from tests.chat.conftest import MakeRoom, Pen, Room, halting, saying, until


def words(items: list[tuple[int, str]]) -> str:
    return "".join(data for data in (json.loads(item[1]) for item in items) if isinstance(data, str))


async def test_a_reader_in_another_process_gets_the_same_text_and_the_ending(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    elsewhere = room.neighbour()
    prompt = await room.ask()
    pen.write("One ")
    await until(lambda: room.rows(Chunk))
    reader = asyncio.create_task(elsewhere.followed(prompt))
    pen.write("two ")
    await until(lambda: len(room.rows(Chunk)) > 1)
    await asyncio.sleep(0.6)  # a reader elsewhere looks every half second
    pen.lift()
    items = await reader
    assert words(items) == "One two "
    assert [number for number, _ in items] == [1, 2, 3]
    assert json.loads(items[-1][1])["status"] == "done"


async def test_a_reader_in_another_process_joins_after_any_number(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    for number, word in enumerate(("a", "b", "c"), start=1):
        pen.write(word)
        await until(lambda number=number: len(room.answers._live[prompt.message_id].draft.operations) == number)
    await until(lambda: chunks.stored(room.db, prompt.message_id, 2))
    for after in range(4):
        stored = chunks.stored(room.db, prompt.message_id, after)
        assert stored == [(number, f'"{word}"') for number, word in ((1, "a"), (2, "b"), (3, "c")) if number > after]
    pen.lift()


async def test_a_reader_in_another_process_misses_nothing_of_an_answers_last_moments(make_room: MakeRoom) -> None:
    room = make_room(saying(*(f"word{number} " for number in range(50))))
    prompt = await room.ask()
    reader = asyncio.create_task(room.neighbour().followed(prompt))
    saved = await room.ended(prompt)
    items = await reader
    assert words(items).strip() == saved.text
    assert [number for number, _ in items] == list(range(1, len(items) + 1))
    for after in range(len(items)):
        assert await room.neighbour().followed(prompt, after) == items[after:]


async def test_a_finished_answer_is_told_again_as_it_was_written_and_later_as_it_was_saved(
    make_room: MakeRoom
) -> None:
    room = make_room(saying("Yes, ", "it is."))
    prompt = await room.ask()
    saved = await room.ended(prompt)
    for _ in range(2):
        items = await room.neighbour().followed(prompt)
        told = Draft()
        for _, data in items[:-1]:
            told.apply(json.loads(data))
        assert told.parts == saved.parts
        assert [number for number, _ in items] == list(range(1, len(items) + 1))
        assert json.loads(items[-1][1])["t"] == "done"
        _finished(room, ago=chunks.KEEP + timedelta(seconds=1))
        await room.answers.recover()
        assert room.rows(Chunk) == []


async def test_operations_stay_until_every_process_has_forgotten_the_answer(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    prompt = await room.ask()
    await room.ended(prompt)
    _finished(room, ago=chunks.KEEP - timedelta(seconds=30))
    await room.answers.recover()
    assert room.rows(Chunk) != []
    assert timedelta(seconds=KEEP_ENDED_SECONDS) < chunks.KEEP / 2
    assert room.answers.remembers(prompt.message_id)
    assert not room.neighbour().answers.remembers(prompt.message_id)


async def test_a_reader_who_comes_back_long_after_the_end_is_told_the_end_at_once(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    prompt = await room.ask()
    await room.ended(prompt)
    _finished(room, ago=chunks.KEEP * 2)
    await room.answers.recover()
    for after in (1, 7, 999_999_999):
        [(number, data)] = await room.neighbour().followed(prompt, after)
        assert number == after + 1
        assert json.loads(data)["status"] == "done"


async def test_an_answer_of_a_dead_process_is_saved_from_its_chunks_and_its_reader_is_told(
    make_room: MakeRoom
) -> None:
    room = make_room(saying("unused"))
    prompt = _asked_elsewhere(room)
    reader = asyncio.create_task(room.followed(prompt))
    assert await room.answers.recover() == 0, "its lease is fresh"
    _age(room)
    assert await room.answers.recover() == 1
    items = await reader
    assert json.loads(items[-1][1])["status"] == "interrupted"
    assert room.message(prompt).text == "What had arrived"
    room.assert_nothing_is_open()


async def test_an_answer_of_this_process_is_not_taken_for_dead(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Slowly"))
    prompt = await room.ask()
    _age(room)
    assert await room.answers.recover() == 0
    assert room.message(prompt).status == "streaming"


async def test_storing_the_same_chunk_again_replaces_it(make_room: MakeRoom) -> None:
    room = make_room(saying("unused"))
    prompt = turns.begin(room.db, room.account_id, None, "Why?", model="m", plan="free")
    assert turns.checkpoint(room.db, prompt.message_id, 1, ['"a"']) == "go on"
    assert turns.checkpoint(room.db, prompt.message_id, 1, ['"a"', '"b"']) == "go on"
    assert chunks.stored(room.db, prompt.message_id, 0) == [(1, '"a"'), (2, '"b"')]


async def test_an_answer_is_saved_after_a_failure_of_the_database(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    pen.write("Paid for")
    await until(lambda: room.answers._live[prompt.message_id].draft.text)
    _sql(room, "ALTER TABLE chunk RENAME TO chunk_away")
    pen.lift()
    await asyncio.sleep(0.15)
    assert room.message(prompt).status == "streaming"
    _sql(room, "ALTER TABLE chunk_away RENAME TO chunk")
    saved = await room.ended(prompt)
    assert (saved.status, saved.text) == ("done", "Paid for")
    room.assert_nothing_is_open()


async def test_stopping_while_an_answer_is_being_saved_loses_nothing(make_room: MakeRoom) -> None:
    room = make_room(halting("Some text"))
    prompt = await room.ask()
    live = room.answers._live[prompt.message_id]
    await until(lambda: live.draft.text)
    assert live.task is not None
    for _ in range(50):
        live.stop_requested = True
        live.task.cancel()
        await asyncio.sleep(0)
    await room.answers.close()
    assert live.task.done()
    assert (room.message(prompt).status, room.message(prompt).text) == ("stopped", "Some text")
    room.assert_nothing_is_open()


def _asked_elsewhere(room: Room) -> turns.Prompt:
    """A question whose answer a process began that has since died."""
    prompt = turns.begin(room.db, room.account_id, None, "Why?", model="m", plan="free")
    turns.checkpoint(room.db, prompt.message_id, 1, ['"What had "', '"arrived"'])
    return prompt


def _finished(room: Room, ago: timedelta) -> None:
    with room.db.session() as session:
        for message in session.exec(select(Message).where(Message.role == "assistant")).all():
            message.finished_at = now() - ago
            session.add(message)


def _age(room: Room) -> None:
    with room.db.session() as session:
        for turn in session.exec(select(Turn)).all():
            turn.lease_until -= LEASE + timedelta(seconds=1)
            session.add(turn)


def _sql(room: Room, statement: str) -> None:
    with room.db.engine.begin() as connection:
        connection.execute(text(statement))


