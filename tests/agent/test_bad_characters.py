"""Characters that JSON can carry and a database cannot: what was paid for is kept all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from decimal import Decimal

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo

from chatapp.agent import history
from chatapp.agent.events import CodeStarted, Finished, SearchFinished, SearchStarted, TextDelta
from chatapp.agent.research import answer
from chatapp.chat.draft import Draft
from chatapp.clients.valyu import Source, Valyu
from chatapp.db import Database
from chatapp.models import Message, Thread
from tests.clients.answering import answering

from .conftest import Desk, Piece, calls, results, saying, scripted

PASSAGE = "Passage \x00 " + "long " * 100 + "\ud83d"
CUT = Source("Half \ud83d", "https://a.example/\x00", PASSAGE, "web", None, Decimal(0))


def save(db: Database, account_id: str, text: str, history_json: str) -> tuple[str, str]:
    """Save an answer as the chat does, and read it again."""
    with db.session() as session:
        thread = Thread(account_id=account_id, title="T")
        session.add(thread)
        session.flush()
        draft = Draft()
        draft.add(text)
        row = Message(thread_id=thread.id, account_id=account_id, role="assistant", text=draft.text,
                      parts=draft.parts, history=history_json)
        session.add(row)
        session.flush()
        message_id = row.id
    with db.reading() as session:
        saved = session.get(Message, message_id)
        assert saved is not None
        return saved.text, saved.history


async def test_an_answer_with_bad_characters_is_saved_whole_and_settled(desk: Desk) -> None:
    events = await desk.ask(saying("One\x00", " two", "\x00", " \ud83d", " three."))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["One", " two", " \ufffd", " three."]
    end = events[-1]
    assert isinstance(end, Finished)
    assert save(desk.db, desk.account_id, end.text, end.history_json) == ("One two \ufffd three.", end.history_json)
    assert history.load(end.history_json)[-1].parts[0].content == "One two \ufffd three."  # type: ignore[union-attr]
    assert [(row.exact, row.status) for row in desk.ledger()] == [(True, "ok")]
    desk.assert_settled()


async def test_an_answer_that_is_stopped_after_a_bad_character_is_settled(desk: Desk) -> None:
    stream = answer("Why?", history_json="", deps=desk.deps(saying("One \ud83d", "two")))
    async for _ in stream:
        break
    await stream.aclose()
    (row,) = desk.ledger()
    assert (row.status, row.exact) == ("stopped", False)
    desk.assert_settled()


async def test_bad_characters_in_a_tool_s_arguments_are_mended_before_it_is_called(desk: Desk) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        if results(messages):
            yield "Done."
        else:
            yield calls(
                ("search", json.dumps({"query": "a\x00 \ud83d"})),  # as escapes
                ("search", '{"query": "b \ud83d"}'),  # as they are
                ("run_code", json.dumps({"code": "print('\x00\ud83d')"})),
            )

    events = await desk.ask(scripted(script))
    assert [event.query for event in events if isinstance(event, SearchStarted)] == ["a \ufffd", "b \ufffd"]
    assert [event.code for event in events if isinstance(event, CodeStarted)] == ["print('\ufffd')"]
    assert sorted(desk.library.queries) == ["a \ufffd", "b \ufffd"]
    end = events[-1]
    assert isinstance(end, Finished)
    assert save(desk.db, desk.account_id, end.text, end.history_json)[0] == "Done."
    assert [row.status for row in desk.ledger()] == ["ok"] * 5
    desk.assert_settled()


async def test_a_source_that_was_cut_in_the_middle_of_a_character_costs_what_it_costs(desk: Desk) -> None:
    desk.library.sources = (CUT,)

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Piece]:
        yield "Found." if results(messages) else calls(("search", '{"query": "a"}'))

    events = await desk.ask(scripted(script))
    [found] = [event for event in events if isinstance(event, SearchFinished)]
    assert found.error is None
    for text in (value for value in asdict(found.sources[0]).values() if isinstance(value, str)):
        text.encode()
        assert "\x00" not in text
    [tool] = [row for row in desk.ledger() if row.kind == "tool"]
    assert (Decimal(tool.cost_usd), tool.exact, tool.status) == (Decimal("0.003"), True, "ok")
    desk.assert_settled()


async def test_a_bad_character_in_the_search_s_own_answer_costs_what_it_costs(desk: Desk) -> None:
    body = {"success": True, "total_deduction_dollars": 0.0015, "results": [
        {"title": "T\x00", "url": "https://a.example", "content": "cut \ud83d", "source": "web", "price": 0.0015}]}
    with answering(200, json.dumps(body)) as url:
        client = Valyu(base_url=url, key="k", timeout_seconds=5)
        found = await client.search("a", max_results=1, max_price_usd_per_thousand=10)
        await client.close()
    assert [(source.title, source.text) for source in found.sources] == [("T", "cut \ufffd")]
    assert (found.cost_usd, found.exact) == (Decimal("0.0015"), True)


def test_a_history_is_written_whatever_is_in_it(desk: Desk) -> None:
    written = history.of_text("Why \ud83d?", "Because\x00 \ud83d.")
    assert save(desk.db, desk.account_id, "x", written)[1] == written
    assert [message.parts[0].content for message in history.load(written)] == [  # type: ignore[union-attr]
        "Why \ufffd?", "Because \ufffd."]
