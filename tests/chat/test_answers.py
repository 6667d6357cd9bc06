"""Asking, following, stopping: from the question to what is saved, shown and charged."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from pydantic_ai.exceptions import ModelHTTPError, ModelServerError

from chatapp.billing.entitlements import QuotaReached
from chatapp.chat import threads, turns
from chatapp.chat.answers import Answers
from chatapp.chat.draft import Draft
from chatapp.chat.threads import ChatError, NotFound
from chatapp.chat.turns import Prompt
from chatapp.clients.code import Picture
from chatapp.ids import new_id
from chatapp.models import Figure, Message, Thread, Turn
from tests.agent.conftest import calls
from tests.chat.conftest import MakeRoom, Pen, account, halting, saying, until


async def test_an_answer_is_saved_as_it_was_streamed_with_what_it_cost(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask("Why is the sky blue?")
    reader = asyncio.create_task(room.followed(prompt))
    pen.write(calls(("search", '{"query": "sky"}')))
    pen.lift()
    pen.write("Because ", "of **Rayleigh**.")
    pen.lift()
    items = await reader
    saved = await room.ended(prompt)
    streamed = Draft()
    for _, data in items[:-1]:
        streamed.apply(json.loads(data))
    assert [number for number, _ in items] == list(range(1, len(items) + 1))
    assert (streamed.parts, streamed.sources) == (saved.parts, saved.sources)
    assert saved.text == "Because of **Rayleigh**."
    assert (saved.status, saved.error, saved.plan) == ("done", "", "free")
    assert saved.cost_nanousd > 3_000_000  # the search alone costs $0.003
    assert json.loads(items[-1][1])["price_note"].startswith("included in Free")
    assert room.question(prompt).text == "Why is the sky blue?"
    room.assert_nothing_is_open()


async def test_a_second_question_goes_into_the_same_chat_and_knows_the_first(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("An answer."))
    first = await room.ask("First?")
    await room.ended(first)
    second = await room.ask("Second?", first.thread_id)
    await room.ended(second)
    opened = threads.open_thread(room.db, room.account_id, first.thread_id)
    assert [message.role for message in opened.messages] == ["user", "assistant"] * 2
    assert opened.thread.title == "First?"
    assert "First?" in second.history_json
    assert "An answer." in second.history_json


async def test_a_stopped_answer_keeps_its_text_is_settled_and_counts(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    pen.write("What had ", "arrived")
    reader = asyncio.create_task(room.followed(prompt))
    await until(lambda: "arrived" in room.answers._live[prompt.message_id].draft.text)
    await room.answers.stop(room.account_id, prompt.message_id)
    await room.answers.stop(room.account_id, prompt.message_id)
    saved = await room.ended(prompt)
    assert (saved.status, saved.text) == ("stopped", "What had arrived")
    assert saved.cost_nanousd > 0
    assert json.loads((await reader)[-1][1])["status"] == "stopped"
    assert room.counted() == 1
    room.assert_nothing_is_open()


async def test_an_answer_is_stopped_by_another_process(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    pen.write("Half an answer")
    await until(lambda: room.answers._live[prompt.message_id].draft.text)
    await room.neighbour().answers.stop(room.account_id, prompt.message_id)
    saved = await room.ended(prompt)
    assert (saved.status, saved.text) == ("stopped", "Half an answer")
    room.assert_nothing_is_open()


async def test_stopping_what_has_ended_changes_nothing(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Done."))
    prompt = await room.ask()
    saved = await room.ended(prompt)
    for process in (room, room.neighbour()):
        await process.answers.stop(room.account_id, prompt.message_id)
    assert room.message(prompt) == saved


async def test_another_account_can_neither_follow_nor_stop_nor_ask_in_a_chat(make_sqlite_room: MakeRoom) -> None:
    pen = Pen()
    room = make_sqlite_room(pen.model)
    prompt = await room.ask()
    stranger = account(room.db)
    with pytest.raises(NotFound):
        await room.answers.stop(stranger, prompt.message_id)
    with pytest.raises(NotFound):
        await anext(room.answers.follow(stranger, prompt.message_id, 0))
    with pytest.raises(NotFound):
        await room.answers.ask(stranger, prompt.thread_id, "Why?")
    assert room.message(prompt).status == "streaming"
    assert [turn.stop_requested for turn in room.rows(Turn)] == [False]


@pytest.mark.parametrize("forged", [None, "", "x", 5, [], {}, "01a1f941-0000-7000-8000-000000000000", "x" * 10_000])
async def test_an_id_of_any_form_is_only_not_found(make_sqlite_room: MakeRoom, forged: object) -> None:
    room = make_sqlite_room(saying("x"))
    with pytest.raises(NotFound):
        await room.answers.stop(room.account_id, forged)
    if forged is not None:
        with pytest.raises(NotFound):
            await room.answers.ask(room.account_id, forged, "Why?")
        assert room.counted() == 0
    assert room.rows(Message, Thread) == []


async def test_a_second_question_while_one_is_answered_is_refused_and_not_counted(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    with pytest.raises(ChatError, match=r"still being written in this chat\. Wait for it, or stop it"):
        await room.ask("And?", prompt.thread_id)
    assert room.counted() == 1
    assert len(room.rows(Message)) == 2
    pen.lift()


async def test_of_eight_questions_at_once_in_one_chat_one_is_answered(make_room: MakeRoom) -> None:
    room = make_room(halting("First."))
    first = await room.ask()
    await until(lambda: room.answers._live[first.message_id].draft.text)
    await room.answers.stop(room.account_id, first.message_id)
    await room.ended(first)
    asked = await asyncio.gather(*(room.ask(f"Question {n}?", first.thread_id) for n in range(8)),
                                 return_exceptions=True)
    assert len([one for one in asked if isinstance(one, Prompt)]) == 1
    assert all(isinstance(one, Prompt | ChatError | QuotaReached) for one in asked)
    assert room.counted() == 2
    assert len(room.rows(Message)) == 4


async def test_a_caller_who_leaves_while_asking_leaves_a_question_that_is_answered(make_room: MakeRoom) -> None:
    room = make_room(saying("Yes."))
    for number in range(3):
        asking = asyncio.create_task(room.ask(f"Question {number}?"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
    await until(lambda: [message.status for message in room.rows(Message) if message.role == "assistant"]
                == ["done"] * 3)
    assert room.counted() == 3
    room.assert_nothing_is_open()


async def test_the_limit_of_the_plan_refuses_and_stores_nothing(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    for _ in range(5):
        await room.ended(await room.ask())
    with pytest.raises(QuotaReached, match="5 questions of today"):
        await room.ask()
    assert len(room.rows(Thread)) == 5


@pytest.mark.parametrize(("problem", "text"), [
    (ModelServerError("m", "down"), "The model does not answer at the moment. Try again in a minute."),
    (ModelHTTPError(401, "m"), "The model cannot be used at the moment. We have to look into it."),
    (RuntimeError("a secret detail"), "Something went wrong on our side (error "),
    (TimeoutError("inner"), "Something went wrong on our side (error "),
    (httpx.ReadError("inner"), "Something went wrong on our side (error "),
])
async def test_a_failed_answer_says_why_and_gives_the_question_back_where_nothing_was_spent(
    make_room: MakeRoom, problem: Exception, text: str
) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    for _ in range(10):
        pen.write(problem)
    saved = await room.ended(prompt)
    assert saved.status == "failed"
    assert saved.error.startswith(text), saved.error
    assert "secret" not in saved.error
    assert json.loads((await room.followed(prompt))[-1][1])["error"] == saved.error
    assert room.counted() == (0 if saved.cost_nanousd == 0 else 1)
    room.assert_nothing_is_open()


async def test_an_answer_that_fails_midway_keeps_its_text_and_counts(make_room: MakeRoom) -> None:
    pen = Pen()
    room = make_room(pen.model)
    prompt = await room.ask()
    pen.write("Half an answer", RuntimeError("broken"))
    saved = await room.ended(prompt)
    assert (saved.status, saved.text) == ("failed", "Half an answer")
    assert saved.cost_nanousd > 0
    assert room.counted() == 1
    room.assert_nothing_is_open()


async def test_an_orderly_shutdown_interrupts_and_saves(make_room: MakeRoom) -> None:
    room = make_room(halting("Some text"))
    prompts = [await room.ask(f"Question {number}?") for number in range(3)]
    await until(lambda: all(room.answers._live[prompt.message_id].draft.text for prompt in prompts))
    await room.answers.stop(room.account_id, prompts[0].message_id)
    await room.answers.close()
    saved = [room.message(prompt) for prompt in prompts]
    assert [message.status for message in saved] == ["stopped", "interrupted", "interrupted"]
    assert all(message.text == "Some text" and message.cost_nanousd > 0 for message in saved)
    room.assert_nothing_is_open()


async def test_who_is_told_when_an_answer_ends_is_told_once_per_answer(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    told: list[int] = []
    room.answers = Answers(room.services, ended=lambda: told.append(1))
    for count in (1, 2):
        await room.ended(await room.ask())
        await until(lambda count=count: len(told) == count)


async def test_pictures_are_saved_for_the_owner_and_referred_to(make_room: MakeRoom) -> None:
    room = make_room(saying("x"))
    prompt = await room.ask()
    await room.ended(prompt)
    figure_id = turns.save_figure(room.db, prompt.message_id, Picture("image/png", b"png", "T"))
    assert threads.owned_figure(room.db, room.account_id, figure_id).data == b"png"
    for forged in (new_id(), None, 5, ""):
        with pytest.raises(NotFound):
            threads.owned_figure(room.db, room.account_id, forged)
    with pytest.raises(NotFound):
        threads.owned_figure(room.db, account(room.db), figure_id)
    assert len(room.rows(Figure)) == 1


async def test_the_same_question_twice_at_once_begins_one_chat_and_counts_once(make_room: MakeRoom) -> None:
    room = make_room(halting("One."))
    prompts = await asyncio.gather(*(room.ask("Twice?") for _ in range(4)))
    assert len({prompt.message_id for prompt in prompts}) == 1
    assert room.counted() == 1
    other = await room.ask("Something else?")
    assert other.thread_id != prompts[0].thread_id
    await room.answers.close()


async def test_no_more_than_five_answers_of_one_account_are_written_at_once(make_room: MakeRoom) -> None:
    room = make_room(halting("One."))
    for number in range(turns.MAX_RUNNING):
        turns.begin(room.db, room.account_id, None, f"Question {number}?", model="m", plan="free")
    with pytest.raises(ChatError, match="being written for you already"):
        turns.begin(room.db, room.account_id, None, "One too many?", model="m", plan="free")
    assert len(room.rows(Turn)) == turns.MAX_RUNNING
