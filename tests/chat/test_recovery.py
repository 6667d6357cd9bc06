"""Answers whose process died, and answers whose process only seemed to: invariant 4."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import cast

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo
from sqlmodel import col, select

from chatapp.billing import admission, holds, ledger
from chatapp.billing.catalog import FREE
from chatapp.billing.holds import PlacedHold
from chatapp.billing.pricing import cost_usd
from chatapp.chat import recovery, turns
from chatapp.chat.draft import Draft
from chatapp.chat.turns import Prompt
from chatapp.db import Database, now
from chatapp.ids import AccountId, MessageId, new_id
from chatapp.models import Chunk, Hold, Message, Turn, UsageEvent
from chatapp.settings import load
from tests.agent.conftest import Library, Piece, calls, results, scripted
from tests.billing.conftest import BOUND, PRICES, balance, entitlement, new_account
from tests.chat.conftest import MakeRoom


@pytest.fixture
def account(db: Database) -> AccountId:
    return AccountId(new_account(db))


def ask(db: Database, account: AccountId, thread_id: str | None = None) -> Prompt:
    question = f"Why is the sky blue? {new_id()}"  # the same one twice would be taken for a double click
    return turns.begin(db, account, thread_id, question, model="gpt-x", plan="pay_per_use")


def pay(db: Database, prompt: Prompt) -> PlacedHold:
    """The hold of a model request, which has used 7 output tokens so far."""
    hold = holds.place(
        db, entitlement(prompt.account_id), turn_id=prompt.message_id, thread_id=prompt.thread_id, kind="model",
        provider="openai", name="gpt-x", prices=PRICES, bound_cost_usd=cost_usd(PRICES, BOUND),
        quantities_bound=BOUND, now=now())
    holds.checkpoint(db, hold, {"input_tokens": 900, "output_tokens": 7}, now())
    return hold


def age(db: Database, message_id: str, by: timedelta = turns.LEASE + timedelta(seconds=1)) -> None:
    """Let the turn's lease run out."""
    with db.session() as session:
        session.get_one(Turn, message_id).lease_until -= by


def message_of(db: Database, prompt: Prompt) -> Message:
    with db.reading() as session:
        return session.get_one(Message, prompt.message_id)


def events_of(db: Database, prompt: Prompt) -> list[UsageEvent]:
    with db.reading() as session:
        return list(session.exec(select(UsageEvent).where(UsageEvent.turn_id == prompt.message_id)).all())


def rows(db: Database, table: type[Turn] | type[Chunk] | type[Hold]) -> int:
    with db.reading() as session:
        return len(session.exec(select(table)).all())


def test_a_dead_answer_keeps_its_text_and_its_estimate_long_before_its_holds_leases_run_out(
    db: Database, account: AccountId
) -> None:
    prompt = ask(db, account)
    hold = pay(db, prompt)
    assert turns.checkpoint(db, prompt.message_id, 1, ['"Because "', '{"t":"part","p":{"id":"s","type":"search",'
                                                           '"query":"sky","status":"running"}}', '"of "']) == "go on"
    assert turns.checkpoint(db, prompt.message_id, 4, ['"scattering"']) == "go on"
    assert recovery.recover(db) == [], "its lease is fresh"
    age(db, prompt.message_id)
    assert recovery.recover(db) == [prompt.message_id]
    message = message_of(db, prompt)
    assert (message.status, message.text) == ("interrupted", "Because\n\nof scattering")
    assert [part["status"] for part in message.parts if part["type"] == "search"] == ["failed"]
    [event] = events_of(db, prompt)
    assert (event.id, event.exact, event.status) == (hold.id, False, "interrupted")
    assert event.quantities == {"input_tokens": 900, "output_tokens": 7}
    assert message.charge_nanousd == event.charge_nanousd > 0
    assert not message.exact
    assert balance(db, account).held_nanousd == 0
    assert (rows(db, Turn), rows(db, Hold)) == (0, 0)
    assert recovery.recover(db) == []


def test_a_thread_goes_on_after_a_dead_answer(db: Database, account: AccountId) -> None:
    prompt = ask(db, account)
    turns.checkpoint(db, prompt.message_id, 1, ['"Because of scattering"'])
    age(db, prompt.message_id)
    recovery.recover(db)
    again = ask(db, account, prompt.thread_id)
    assert "Because of scattering" in again.history_json


def test_an_answer_of_this_process_is_alive_whatever_its_lease_says(db: Database, account: AccountId) -> None:
    prompt = ask(db, account)
    pay(db, prompt)
    age(db, prompt.message_id)
    assert recovery.recover(db, {prompt.message_id}) == []
    assert message_of(db, prompt).status == "streaming"
    assert turns.checkpoint(db, prompt.message_id, 1, ['"on"']) == "go on", "the lease is renewed"
    assert recovery.recover(db) == []


def test_a_process_that_only_seemed_dead_finds_its_turn_taken_and_changes_nothing(
    db: Database, account: AccountId
) -> None:
    prompt = ask(db, account)
    hold = pay(db, prompt)
    turns.checkpoint(db, prompt.message_id, 1, ['"first"'])
    age(db, prompt.message_id)
    recovery.recover(db)
    assert turns.checkpoint(db, prompt.message_id, 2, ['"second"']) == "lost"
    settled = ledger.settle(db, hold, {"input_tokens": 900, "output_tokens": 90}, exact=False, status="stopped",
                            now=now())
    assert settled.quantities["output_tokens"] == 7
    draft = Draft()
    draft.add("first second")
    saved = turns.save(db, prompt.message_id, draft, status="stopped", error="", history_json="")
    assert (saved.status, saved.text) == ("interrupted", "first")
    assert len(events_of(db, prompt)) == 1
    assert rows(db, Chunk) == 1, "what came after it was taken is not stored"


def test_an_answer_that_cannot_be_saved_keeps_no_other_from_being_saved(db: Database, account: AccountId) -> None:
    broken, sound = ask(db, account), ask(db, account)
    turns.checkpoint(db, broken.message_id, 1, ['{"t":"of another version"}'])
    for prompt in (broken, sound):
        age(db, prompt.message_id)
    assert recovery.recover(db) == [sound.message_id]
    assert _lease(db, broken.message_id) > now(), "it is tried again, but not at once"


def _lease(db: Database, message_id: MessageId) -> datetime:
    with db.reading() as session:
        return session.exec(select(Turn.lease_until).where(col(Turn.id) == message_id)).one()


def test_a_step_that_could_not_be_settled_is_in_the_price_of_its_answer(db: Database, account: AccountId) -> None:
    prompt = ask(db, account)
    hold = pay(db, prompt)
    message = turns.save(db, prompt.message_id, Draft(), status="failed", error="The disk was full.", history_json="")
    [event] = events_of(db, prompt)
    assert (event.id, event.exact, event.status) == (hold.id, False, "interrupted")
    assert message.charge_nanousd == event.charge_nanousd > 0
    assert not message.exact
    assert rows(db, Hold) == rows(db, Turn) == 0
    assert balance(db, account).held_nanousd == 0


def question(db: Database, account: AccountId, asked_at: datetime) -> Prompt:
    """A question that is counted against the free plan."""
    may = admission.admit(db, load({"LIMITS": "on"}), account, asked_at)
    assert may.plan == FREE
    return turns.begin(db, account, None, f"Why? {new_id()}", model="gpt-x", plan=may.plan.key, counted=may.counted)


def hold_for(db: Database, prompt: Prompt) -> PlacedHold:
    return holds.place(
        db, entitlement(prompt.account_id, FREE, "0.25"), turn_id=prompt.message_id, thread_id=prompt.thread_id,
        kind="model", provider="openai", name="gpt-x", prices=PRICES, bound_cost_usd=cost_usd(PRICES, BOUND),
        quantities_bound=BOUND, now=now())


def counted(db: Database, account: str, at: datetime) -> int:
    with db.reading() as session:
        return sum(admission.quota_used(session, account, FREE, at).values())


@pytest.mark.parametrize("heard", [False, True], ids=["brought nothing", "brought something"])
def test_a_question_that_a_killed_process_left_without_an_answer_is_given_back(
    db: Database, account: AccountId, heard: bool
) -> None:
    other, prompt = question(db, account, now()), question(db, account, now())
    hold = hold_for(db, prompt)
    if heard:
        holds.checkpoint(db, hold, {"input_tokens": 900, "output_tokens": 7}, now())
    age(db, prompt.message_id)
    for _ in range(2):
        recovery.recover(db)
    [event] = events_of(db, prompt)
    assert (event.bearer, event.status, event.cost_nanousd > 0) == (
        "customer" if heard else "platform", "interrupted", True)
    assert message_of(db, prompt).cost_nanousd == (event.cost_nanousd if heard else 0)
    assert counted(db, account, now()) == 1 + int(heard)
    assert message_of(db, other).status == "streaming"


def test_a_process_that_only_seemed_dead_gives_no_question_back_a_second_time(
    db: Database, account: AccountId
) -> None:
    question(db, account, now())
    prompt = question(db, account, now())
    age(db, prompt.message_id)
    recovery.recover(db)
    turns.save(db, prompt.message_id, Draft(), status="failed", error="The disk was full.", history_json="")
    assert counted(db, account, now()) == 1


def test_a_question_is_given_back_to_the_day_and_the_account_that_it_was_counted_in(
    db: Database, account: AccountId
) -> None:
    yesterday = now() - timedelta(days=1)
    question(db, account, now())
    prompt = question(db, account, yesterday)
    home = AccountId(new_account(db))
    question(db, home, yesterday)
    with db.session() as session:  # as a merge of the two does
        session.get_one(Turn, prompt.message_id).account_id = home
        session.get_one(Message, prompt.message_id).account_id = home
    age(db, prompt.message_id)
    assert recovery.recover(db) == [prompt.message_id]
    assert [counted(db, account, at) for at in (yesterday, now())] == [0, 1]
    assert counted(db, home, yesterday) == 1


def test_a_question_of_which_something_is_still_held_is_not_given_back(db: Database, account: AccountId) -> None:
    prompt = question(db, account, now())
    hold = hold_for(db, prompt)
    with db.session() as session:
        session.get_one(Hold, hold.id).terms = {}
    age(db, prompt.message_id)
    assert recovery.recover(db) == [prompt.message_id]
    assert rows(db, Hold) == 1, "it cannot be settled, and may be charged later"
    assert counted(db, account, now()) == 1


async def test_a_step_after_the_turn_was_lost_is_not_one_that_the_person_stopped(make_room: MakeRoom) -> None:
    thinking = asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if not results(messages):
            yield calls(("search", '{"query": "sky"}'))
            return
        thinking.set()
        await asyncio.Event().wait()
        yield "never"

    room = make_room(scripted(script))
    library = cast(Library, room.services.valyu)
    library.gate = asyncio.Event()
    prompt = await room.ask()
    await library.arrived.acquire()
    age(room.db, prompt.message_id, timedelta(minutes=1))
    assert recovery.recover(room.db) == [prompt.message_id], "another process takes it for dead"
    library.gate.set()
    saved = await room.ended(prompt)
    assert saved.status == "interrupted"
    assert not room.answers._live[prompt.message_id].stop_requested, "so that `Payer.stopped` says no"
    late = [event for event in room.rows(UsageEvent) if event.bearer == "platform" and event.kind == "model"]
    assert [event.charge_nanousd for event in late] == ([0] if thinking.is_set() else [])
    room.assert_nothing_is_open()
