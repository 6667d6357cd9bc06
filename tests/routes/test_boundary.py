"""What no route expected: the person is told an id, under which the operator finds it."""

import logging
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from chatapp.routes.boundary import Boundary
from chatapp.settings import load

ID = re.compile(r"\(error ([0-9a-f]{8})\)")


async def broken(request: Request) -> Response:
    raise OSError(28, "No space left on device: /secret/path")


async def half(request: Request) -> Response:
    async def words() -> AsyncIterator[str]:
        yield "Half"
        raise OSError(28, "No space left on device")

    return StreamingResponse(words())


async def sound(request: Request) -> Response:
    return PlainTextResponse("whole")


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/broken", broken, methods=["GET", "POST"]), Route("/half", half),
                            Route("/sound", sound)], middleware=[Middleware(Boundary, settings=load({}))])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize("mode", ["navigate", "cors", ""])
async def test_the_id_that_is_shown_is_the_one_that_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await client.post("/broken", headers={"sec-fetch-mode": mode} if mode else {})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["content-type"].startswith("text/html" if mode == "navigate" else "application/json")
    assert answer.headers["cache-control"] == "no-store"
    shown = ID.search(answer.text)
    assert shown, answer.text
    [record] = [record for record in caplog.records if shown[1] in record.getMessage()]
    assert record.exc_info is not None
    assert "/secret/path" in str(record.exc_info[1])


async def test_an_answer_that_has_begun_is_broken_off_and_nothing_is_added_to_it(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OSError, match="No space left"):
        await client.get("/half")
    assert [ID.search(record.getMessage()) is not None for record in caplog.records] == [True]


async def test_a_client_that_went_away_is_no_error_of_ours(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await Boundary(gone, load({}))({"type": "http", "method": "POST", "path": "/x", "headers": []}, nothing, send)
    assert (sent, caplog.records) == ([], [])


async def test_what_goes_well_passes_untouched(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sound")).text == "whole"
    assert (await client.get("/missing")).status_code == 404
