"""A visitor signs in while an answer is being written, and their chats move to the account that they had before."""

from __future__ import annotations

import asyncio
import json
import threading

from sqlmodel import select

from chatapp.accounts import joining
from chatapp.billing.admission import quota_used
from chatapp.billing.catalog import VISITOR
from chatapp.chat import threads, turns
from chatapp.clients.code import Picture
from chatapp.clients.supabase import AuthTokens
from chatapp.db import Database, now
from chatapp.ids import AccountId
from chatapp.models import Account, Figure, Message, Profile, Thread, Turn, UsageEvent
from tests.chat.conftest import MakeRoom, Pen, Room, account, saying, until

PICTURE = Picture("image/png", b"png", "T")


def sign_in(db: Database, visitor: str, home: str) -> None:
    """What a sign-in does with the visitor's account, for the person who has the account `home`."""
    tokens = AuthTokens(access_token="a", refresh_token="r", user_id=home, session_id="s",
                        email="ada@example.org", name="Ada", confirmed=True)
    with db.session() as session:
        if session.get(Profile, home) is None:
            session.add(Profile(id=home, account_id=home, email="ada@example.org"))
            session.flush()
        assert joining.account_of(session, db, tokens, visitor, now()) == home


def owners(room: Room) -> set[str]:
    """The accounts that own anything of a chat."""
    return {row.account_id for row in room.rows(Thread, Message, Figure, Turn)}


def visitors_room(make_room: MakeRoom, model: object) -> tuple[Room, AccountId]:
    room = make_room(model)  # type: ignore[arg-type]  # a FunctionModel is a Model
    room.account_id = account(room.db, "visitor")
    return room, account(room.db)


async def test_the_answer_goes_on_for_the_new_account_at_the_old_ones_expense(make_room: MakeRoom) -> None:
    pen = Pen()
    room, home = visitors_room(make_room, pen.model)
    visitor = room.account_id
    prompt = await room.ask()
    pen.write("Before, ")
    await until(lambda: room.answers._live[prompt.message_id].draft.text)
    sign_in(room.db, visitor, home)
    figure_id = turns.save_figure(room.db, prompt.message_id, PICTURE)
    pen.write("after.")
    pen.lift()
    room.account_id = home
    items = await room.followed(prompt)
    saved = await room.ended(prompt)
    assert (saved.status, saved.text, saved.account_id) == ("done", "Before, after.", home)
    assert json.loads(items[-1][1])["status"] == "done"
    assert threads.owned_figure(room.db, home, figure_id).data == b"png"
    assert owners(room) == {home}
    assert {event.account_id for event in room.rows(UsageEvent)} == {visitor}
    room.assert_nothing_is_open()


async def test_the_new_account_can_stop_it_here_and_from_another_process(make_room: MakeRoom) -> None:
    for other_process in (False, True):
        pen = Pen()
        room, home = visitors_room(make_room, pen.model)
        prompt = await room.ask()
        pen.write("Half")
        await until(lambda room=room, prompt=prompt: room.answers._live[prompt.message_id].draft.text)
        sign_in(room.db, room.account_id, home)
        await (room.neighbour() if other_process else room).answers.stop(home, prompt.message_id)
        assert (await room.ended(prompt)).status == "stopped"


async def test_a_failure_after_the_merge_gives_the_question_back_to_the_account_that_asked(
    make_room: MakeRoom
) -> None:
    pen = Pen()
    room, home = visitors_room(make_room, pen.model)
    visitor = room.account_id
    prompt = await room.ask()
    assert _counted(room.db, visitor) == 1
    sign_in(room.db, visitor, home)
    for _ in range(10):
        pen.write(RuntimeError("broken"))
    saved = await room.ended(prompt)
    assert saved.status == "failed"
    assert _counted(room.db, visitor) == (0 if saved.cost_nanousd == 0 else 1)


async def test_a_question_that_was_on_its_way_when_the_accounts_merged_goes_to_the_new_one(
    make_room: MakeRoom
) -> None:
    room, home = visitors_room(make_room, saying("Yes."))
    sign_in(room.db, room.account_id, home)
    prompt = await room.ask()
    await room.ended(prompt)
    assert prompt.account_id == home
    assert owners(room) == {home}


async def test_pictures_and_questions_in_the_instant_of_the_merge_are_never_left_behind(db: Database) -> None:
    for _ in range(10):
        home, visitor = account(db), account(db, "visitor")
        prompt = turns.begin(db, visitor, None, "Why?", model="m", plan="visitor")
        gate = threading.Barrier(3)

        def at_once(work: object, *arguments: object, gate: threading.Barrier = gate) -> None:
            gate.wait()
            work(*arguments)  # type: ignore[operator]  # any of the three below

        await asyncio.gather(
            asyncio.to_thread(at_once, sign_in, db, visitor, home),
            asyncio.to_thread(at_once, turns.save_figure, db, prompt.message_id, PICTURE),
            asyncio.to_thread(at_once, lambda visitor=visitor: turns.begin(
                db, visitor, None, "And?", model="m", plan="visitor")))
        with db.reading() as session:
            for table in (Thread, Message, Figure, Turn):
                left = session.exec(select(table).where(table.account_id == visitor)).all()
                assert left == [], f"{table.__name__} was left behind"
            assert session.get_one(Account, visitor).merged_into == home


def _counted(db: Database, account_id: str) -> int:
    with db.reading() as session:
        return sum(quota_used(session, account_id, VISITOR, now()).values())
