"""People are sent to the one address under which everything works."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from chatapp.routes.host import OwnHost
from chatapp.settings import load


async def _page(_: Request) -> Response:
    return PlainTextResponse("here")


async def _get(host: str, public_url: str = "http://localhost:3000", **headers: str) -> httpx.Response:
    app = OwnHost(Starlette(routes=[Route("/chat/{id}/", _page)]), load({"PUBLIC_URL": public_url}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}") as client:
        return await client.get("/chat/1/", params={"a": "b c"},
                                headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_a_person_under_another_name_of_the_server_is_sent_to_the_right_one() -> None:
    answer = await _get("127.0.0.1:3000", sec_fetch_mode="navigate")
    assert answer.status_code == 307
    assert answer.headers["location"] == "http://localhost:3000/chat/1/?a=b+c"


@pytest.mark.parametrize(("host", "mode"), [("localhost:3000", "navigate"), ("10.0.0.1", "cors"), ("10.0.0.1", "")])
async def test_the_right_name_and_whatever_is_no_navigation_pass(host: str, mode: str) -> None:
    assert (await _get(host, sec_fetch_mode=mode)).text == "here"


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "app:3000", "chat.example.com:3000"])
async def test_behind_a_proxy_that_changes_the_host_nothing_is_redirected(host: str) -> None:
    assert (await _get(host, "https://chat.example.com", sec_fetch_mode="navigate")).text == "here"
