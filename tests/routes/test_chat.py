"""A question from a native form: by somebody with a session, and by somebody who has none yet."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from sqlmodel import select
from starlette.applications import Starlette

from chatapp.accounts import sessions, throttle
from chatapp.billing.catalog import VISITOR
from chatapp.chat.threads import MAX_QUESTION_CHARACTERS
from chatapp.db import now
from chatapp.models import Account, Message, ServerSession, Thread
from chatapp.routes import chat
from chatapp.settings import load
from tests.chat.conftest import MakeRoom, Room, halting, make_sqlite_room, saying

__all__ = ["make_sqlite_room"]
FORM = "application/x-www-form-urlencoded"
ADDRESS = "203.0.113.7"


def browser(room: Room, **headers: str) -> httpx.AsyncClient:
    """A browser on our own page, with a cookie jar."""
    app = Starlette(routes=chat.routes(room.services, room.answers))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(ADDRESS, 1)),
                             base_url=room.services.settings.public_url,
                             headers={"origin": room.services.settings.public_url, **headers})


def nothing_was_made(room: Room) -> bool:
    return room.rows(Thread, Message, ServerSession) == [] and len(room.rows(Account)) == 1


async def test_a_question_makes_a_visitor_with_a_session_and_leads_to_the_chat(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", data={"question": "Is it?"})
    [thread] = room.rows(Thread)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{room.services.settings.public_url}/chat/{thread.id}/"
    assert answer.headers["cache-control"] == "no-store"
    [cookie] = answer.headers.get_list("set-cookie")
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert cookie.startswith("session=")
    assert {"httponly", "samesite=lax", "path=/"} <= flags
    assert "secure" not in flags, "http://localhost would not send it back"
    found = sessions.current(room.db, cookie.partition(";")[0], room.services.settings, now())
    assert found is not None
    assert found.is_visitor
    assert found.account_id == thread.account_id


async def test_over_https_the_cookie_is_bound_to_this_host(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    secure = load({"PUBLIC_URL": "https://app.test", "API_URL": "https://app.test", "LIMITS": "on"})
    object.__setattr__(room.services, "settings", secure)
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", data={"question": "Is it?"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert "; secure" in cookie.lower()
    assert "domain" not in cookie.lower()


async def test_the_next_question_is_the_same_visitors(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as visitor:
        await visitor.post("/api/chat/start", data={"question": "First?"})
        answer = await visitor.post("/api/chat/start", data={"question": "Second?"})
    assert "set-cookie" not in answer.headers
    assert len({thread.account_id for thread in room.rows(Thread)}) == 1
    assert len(room.rows(ServerSession)) == 1


async def test_at_the_visitors_limit_the_start_page_is_shown_with_the_reason(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    [limit] = [quota.limit for quota in VISITOR.quotas]
    async with browser(room) as visitor:
        for number in range(limit):
            question = {"question": f"Is it {number}?"}
            assert "/chat/" in (await visitor.post("/api/chat/start", data=question)).headers["location"]
        answer = await visitor.post("/api/chat/start", data={"question": "One more?"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{room.services.settings.public_url}/?limit=1")
    assert len(room.rows(Thread)) == limit


@pytest.mark.parametrize("question", ["", "   ", "\x00", "x" * (MAX_QUESTION_CHARACTERS + 1)])
async def test_a_question_that_cannot_be_asked_makes_no_visitor(make_sqlite_room: MakeRoom, question: str) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", data={"question": question})
    assert answer.status_code == 400
    assert "This question cannot be asked" in answer.text
    assert "set-cookie" not in answer.headers
    assert nothing_was_made(room)


async def test_a_form_without_a_question_makes_no_visitor(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as stranger:
        assert (await stranger.post("/api/chat/start", data={"other": "x"})).status_code == 400
    assert nothing_was_made(room)


async def test_nul_bytes_are_left_out_of_a_question(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Yes."))
    async with browser(room) as stranger:
        await stranger.post("/api/chat/start", data={"question": "Is\x00 it\x00?"})
    assert [message.text for message in room.rows(Message) if message.role == "user"] == ["Is it?"]


async def test_the_longest_question_fits_in_every_script(make_sqlite_room: MakeRoom) -> None:
    room = make_sqlite_room(halting("Yes."))
    question = "語" * MAX_QUESTION_CHARACTERS
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", content=f"question={quote(question)}".encode(),
                                     headers={"content-type": FORM})
    assert answer.status_code == 303
    assert [message.text for message in room.rows(Message) if message.role == "user"] == [question]


@pytest.mark.parametrize(("content", "type", "status"), [
    (b"question=" + b"x" * (256 * 1024), FORM, 413),
    (b'{"question": "Is it?"}', "application/json", 415),
    (b"question=Is+it%3F", "text/plain", 415),
    (b"question=%FF%FE", FORM, 400),
    (b"&".join(b"a=1" for _ in range(100)), FORM, 400),
])
async def test_a_body_that_is_no_form_of_ours_is_refused(
    make_sqlite_room: MakeRoom, content: bytes, type: str, status: int
) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", content=content, headers={"content-type": type})
    assert answer.status_code == status
    assert nothing_was_made(room)


@pytest.mark.parametrize("headers", [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
])
async def test_a_form_from_another_site_asks_nothing(make_sqlite_room: MakeRoom, headers: dict[str, str]) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as stranger:
        answer = await stranger.post("/api/chat/start", data={"question": "Is it?"}, headers=headers)
    assert answer.status_code == 403
    assert nothing_was_made(room)


async def test_too_many_visitors_from_one_address_have_to_wait_but_those_with_a_session_do_not(
    make_sqlite_room: MakeRoom
) -> None:
    room = make_sqlite_room(saying("Yes."))
    async with browser(room) as visitor, browser(room) as another:
        await visitor.post("/api/chat/start", data={"question": "Is it?"})
        for _ in range(throttle.RULES["visitor"].per_address - 1):
            throttle.check(room.db, room.services.settings, "visitor", ADDRESS, now())
        answer = await another.post("/api/chat/start", data={"question": "Is it?"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 3601
        assert "set-cookie" not in answer.headers
        assert (await visitor.post("/api/chat/start", data={"question": "Is it?"})).status_code == 303
    with room.db.reading() as session:
        assert len(session.exec(select(Account).where(Account.kind == "visitor")).all()) == 1
