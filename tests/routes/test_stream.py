"""The answer as server-sent events, joined from any number, and the pictures: to their owner alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from chatapp.accounts import sessions
from chatapp.chat import turns
from chatapp.chat.turns import Prompt
from chatapp.clients.code import Picture
from chatapp.db import now
from chatapp.routes import stream
from tests.chat.conftest import MakeRoom, Pen, Room, account, halting, make_sqlite_room, saying, until
from tests.emulators.loopback import place, serving

__all__ = ["make_sqlite_room"]
KEEP_ALIVE = 0.05


def cookie(room: Room, account_id: str) -> str:
    with room.db.session() as session:
        return "session=" + sessions.open_session(session, room.services.settings, account_id, now())


@asynccontextmanager
async def served(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    """The two routes behind a real server, and the browser of the account that asked."""
    at = place()
    app = Starlette(routes=stream.routes(room.services, room.answers, keep_alive_seconds=KEEP_ALIVE))
    async with serving(app, at), httpx.AsyncClient(
        base_url=at.url, trust_env=False, timeout=10, headers={"cookie": cookie(room, room.account_id)}
    ) as browser:
        yield browser


def address(prompt: Prompt) -> str:
    return f"/api/answers/{prompt.message_id}/stream"


def events(body: str) -> list[tuple[int, Any]]:
    """(id, data) of each event; comments are left out."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), json.loads(fields["data"])))
    return found


async def written(make: MakeRoom) -> tuple[Room, Prompt]:
    """An answer of three words that is being written, each an operation of its own."""
    pen = Pen()
    room = make(pen.model)
    prompt = await room.ask()
    live = room.answers._live[prompt.message_id]
    for count, word in enumerate(("a", "b", "c"), start=1):
        pen.write(word)
        await until(lambda count=count: len(live.draft.operations) == count)
    pen.lift()
    await room.ended(prompt)
    return room, prompt


@pytest.mark.parametrize(("header", "after", "first"), [
    (None, None, 1), ("2", None, 3), (None, "1", 2), ("2", "1", 3), ("1", "3", 2), ("3", None, 4), ("0", "2", 1),
    ("", "2", 3), ("x", None, 1), ("-1", None, 1), ("1.5", None, 1), ("٣", None, 1), ("9" * 50, None, 1),
    (None, "", 1), (None, "NaN", 1), (None, "1e2", 1), (None, "-5", 1), ("two", "2", 1),
])
async def test_a_stream_goes_on_after_the_last_event_that_the_browser_has(
    make_sqlite_room: MakeRoom, header: str | None, after: str | None, first: int
) -> None:
    room, prompt = await written(make_sqlite_room)
    async with served(room) as browser:
        headers = {} if header is None else {"last-event-id": header.encode()}
        answer = await browser.get(address(prompt), headers=cast(Any, headers),
                                   params={} if after is None else {"after": after})
    assert [number for number, _ in events(answer.text)] == list(range(first, 5))
    assert events(answer.text)[-1][1]["t"] == "done"


async def test_a_stream_is_never_kept_and_never_buffered(make_sqlite_room: MakeRoom) -> None:
    room, prompt = await written(make_sqlite_room)
    async with served(room) as browser:
        answer = await browser.get(address(prompt))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_a_finished_answer_that_no_process_remembers_is_told_from_the_beginning_or_ended(
    make_sqlite_room: MakeRoom
) -> None:
    room, prompt = await written(make_sqlite_room)
    async with served(room.neighbour()) as browser:
        whole = events((await browser.get(address(prompt))).text)
        rest = events((await browser.get(address(prompt), params={"after": "3"})).text)
    assert "".join(data for _, data in whole if isinstance(data, str)) == "abc"
    assert [number for number, _ in whole] == [1, 2, 3, 4]
    assert [(number, data["t"], data["status"]) for number, data in rest] == [(4, "done", "done")]


async def test_silence_is_filled_with_comments_that_carry_no_event(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Hello"))
    prompt = await room.ask()
    body = ""
    async with served(room) as browser, browser.stream("GET", address(prompt)) as answer:
        chunks = answer.aiter_text()
        while body.count(":\n\n") < 3:
            body += await anext(chunks)
    assert [data for _, data in events(body)] == ["Hello"]


async def test_a_browser_that_leaves_leaves_no_task_behind_and_the_answer_goes_on(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Hello"))
    async with served(room) as browser:
        prompt = await room.ask()
        await until(lambda: room.answers._live[prompt.message_id].draft.text)
        before = tasks()
        for _ in range(5):
            async with browser.stream("GET", address(prompt)) as answer:
                assert "Hello" in await anext(answer.aiter_text())
                assert tasks() > before
        await until(lambda: tasks() <= before)
    assert room.message(prompt).status == "streaming"


def tasks() -> int:
    return len(asyncio.all_tasks())


async def test_whoever_asks_for_the_headers_alone_gets_them_at_once(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Hello"))
    prompt = await room.ask()
    async with served(room) as browser:
        answer = await browser.head(address(prompt))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize("kind", ["stream", "figure"])
async def test_without_a_session_of_the_owner_there_is_nothing(make_sqlite_room: MakeRoom, kind: str) -> None:
    room, prompt = await written(make_sqlite_room)
    figure = turns.save_figure(room.db, prompt.message_id, Picture("image/png", b"png"))
    path = address(prompt) if kind == "stream" else f"/api/figures/{figure}"
    async with served(room) as browser:
        assert (await browser.get(path)).status_code == 200
        for other, status in (("", 403), ("session=x", 403), (cookie(room, account(room.db)), 404)):
            answer = await browser.get(path, headers={"cookie": other})
            assert answer.status_code == status
            assert answer.headers["cache-control"] == "no-store"
            assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("id", [
    "01a1f97a-00a1-7717-8b6e-b2ad4150fb7b", "x", "..", "%2e%2e", "a" * 3_000, "%00", "%F0%9F%98%80", "' OR 1=1",
])
async def test_an_address_of_any_form_is_only_not_found(make_sqlite_room: MakeRoom, id: str) -> None:
    room = make_sqlite_room(saying("x"))
    async with served(room) as browser:
        for path in (f"/api/answers/{id}/stream", f"/api/figures/{id}"):
            assert (await browser.get(path)).status_code == 404


async def test_a_figure_is_a_picture_for_its_owner_and_never_a_page(make_sqlite_room: MakeRoom) -> None:
    room, prompt = await written(make_sqlite_room)
    figure = turns.save_figure(room.db, prompt.message_id, Picture("image/png", b"\x89PNG"))
    async with served(room) as browser:
        answer = await browser.get(f"/api/figures/{figure}")
    assert answer.content == b"\x89PNG"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cache-control"].startswith("private,")
