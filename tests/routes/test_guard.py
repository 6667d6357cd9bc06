"""The guard in front of forms."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chatapp import settings as app_settings
from chatapp.routes.guard import client_address, guarded, read_form, safe_next

ONE = app_settings.load({"PUBLIC_URL": "http://app.test", "API_URL": "http://app.test"})
TWO = app_settings.load({"PUBLIC_URL": "http://app.test:3000", "API_URL": "http://app.test:8000"})
FORM = "application/x-www-form-urlencoded"


def client(settings: app_settings.Settings = ONE, peer: str = "203.0.113.5") -> httpx.AsyncClient:
    async def echo(request: Request) -> Response:
        return JSONResponse(await read_form(request))

    async def address(request: Request) -> Response:
        return PlainTextResponse(client_address(request, int(request.query_params["proxies"])))

    app = Starlette(routes=[
        Route("/form", guarded(settings, echo), methods=["POST"]),
        Route("/address", address),
    ])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 1)), base_url=settings.api_url)


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        (ONE, {"origin": "http://app.test"}, 200),
        (ONE, {"origin": "http://evil.test"}, 403),
        (ONE, {"origin": "http://evil.test", "sec-fetch-site": "same-origin"}, 403),
        (ONE, {"origin": "http://app.test.evil.test"}, 403),
        (ONE, {"origin": "https://app.test"}, 403),
        (ONE, {"origin": "http://app.test:81"}, 403),
        (ONE, {"origin": ""}, 403),
        (ONE, {}, 403),
        (ONE, {"referer": "http://app.test/"}, 403),
        (ONE, {"origin": "null"}, 403),
        (ONE, {"origin": "null", "sec-fetch-site": "same-origin"}, 200),
        (ONE, {"origin": "null", "sec-fetch-site": "cross-site"}, 403),
        (ONE, {"sec-fetch-site": "same-origin"}, 200),
        (ONE, {"sec-fetch-site": "same-site"}, 403),
        (ONE, {"sec-fetch-site": "none"}, 403),
        (TWO, {"sec-fetch-site": "same-site"}, 200),
        (TWO, {"origin": "http://app.test:3000"}, 200),
        (TWO, {"origin": "http://app.test:8000"}, 200),
        (TWO, {"origin": "http://app.test"}, 403),
    ],
)
async def test_only_our_own_pages_may_send_a_form(
    settings: app_settings.Settings, headers: dict[str, str], status: int
) -> None:
    answer = await client(settings).post("/form", data={"a": "1"}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "nothing was done" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


async def test_a_megabyte_is_refused_by_its_announced_length() -> None:
    answer = await client().post("/form", data={"a": "x" * 2**20}, headers={"origin": ONE.public_url})
    assert answer.status_code == 413


async def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_long() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1024):
            sent += 1024
            yield b"x" * 1024

    headers = {"origin": ONE.public_url, "content-type": FORM}
    answer = await client().post("/form", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert sent <= 66 * 1024, "the rest of it was not read"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1&a=2&b=", FORM, 200),
        (b"a=%FF", FORM, 400),
        (b"a=\xff", FORM, 400),
        (b"&".join(b"f%d=1" % i for i in range(60)), FORM, 400),
        (b'{"a": "1"}', "application/json", 415),
        (b"a=1", "text/plain", 415),
        (b"a=1", "", 415),
    ],
)
async def test_only_a_readable_native_form_is_read(body: bytes, kind: str, status: int) -> None:
    headers = {"origin": ONE.public_url, "content-type": kind}
    answer = await client().post("/form", content=body, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"a": "1", "b": ""}


@pytest.mark.parametrize("path", ["/", "/t/1", "/t/1?a=b&c=%2F%2F", "/t#x", "/@evil", "/a//b"])
def test_a_path_of_our_own_is_kept(path: str) -> None:
    assert safe_next(path) == path


@pytest.mark.parametrize(
    "path",
    [None, "", "t", "//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test", "https://evil.test",
     "/\t/evil.test", "/\n/evil.test", "javascript:alert(1)", " /t", "/a b", "/a\x00", "/a\x7f", "/a\x85",
     "/" + "x" * 2000, "@evil.test"],
)
def test_anything_else_leads_to_the_start_page(path: str | None) -> None:
    assert safe_next(path) == "/"


@given(st.text(max_size=60))
def test_no_text_at_all_leads_to_another_host(text: str) -> None:
    url = httpx.URL("https://app.test" + safe_next(text))
    assert (url.scheme, url.host, url.userinfo) == ("https", "app.test", b"")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.1", "203.0.113.5"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", "203.0.113.5"),
        (1, "", "203.0.113.5"),
    ],
)
async def test_only_what_trusted_proxies_wrote_is_believed(proxies: int, forwarded: str, address: str) -> None:
    answer = await client().get("/address", params={"proxies": proxies}, headers={"x-forwarded-for": forwarded})
    assert answer.text == address
