"""No one reads or changes anything of another account over HTTP, at any route that the app has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
import websockets

from tests.state.house import House, Tenant
from tests.state.wire import Tab, tab

FIELDS = ("question", "plan", "next", "thread_id", "message_id", "account_id", "id", "kind", "type", "token_hash",
          "name", "email", "password")
SECONDS = 10


def client(house: House, cookie: str, **headers: str) -> httpx.Client:
    """A client that sends exactly this cookie with every request, and follows nothing."""
    if cookie:
        headers["cookie"] = cookie
    return httpx.Client(base_url=house.url, headers=headers, trust_env=False, timeout=SECONDS)


def test_the_owner_gets_the_stream_and_the_figure_that_the_other_tests_look_for(house: House, owner: Tenant) -> None:
    with client(house, owner.cookie) as own:
        assert owner.secret in own.get(f"/api/figures/{owner.ids['figure']}").text
        assert '"t":"done"' in own.get(f"/api/answers/{owner.ids['answer']}/stream").text
        with own.stream("GET", f"/api/answers/{owner.ids['running']}/stream") as stream:
            assert owner.secret in next(stream.iter_text())


@pytest.mark.parametrize("who", ["stranger", "nobody", "revoked", "forged"])
def test_no_route_tells_or_changes_anything_of_another_account(house: House, owner: Tenant, who: str) -> None:
    before = house.belongings(owner)
    tried = 0
    for method, path, form in _requests(house, owner):
        cookie = {"stranger": house.tenant().cookie, "nobody": "", "revoked": owner.revoked,
                  "forged": f"session={owner.ids['account']}; account_id={owner.ids['account']}"}[who]
        with client(house, cookie, origin=house.url) as other:
            answer = other.request(method, path, data=form)
        assert owner.secret not in answer.text + str(answer.headers), f"{method} {path} tells"
        assert answer.status_code < 500, f"{method} {path} failed: {answer.text[:300]}"
        tried += 1
    assert tried > 40
    assert house.belongings(owner) == before
    assert owner.secret not in house.log


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_no_form_is_taken_from_another_site_even_with_the_owners_cookie(
    house: House, owner: Tenant, origin: str | None
) -> None:
    before = house.belongings(owner)
    posts = {path for method, path, _ in _requests(house, owner) if method == "POST"}
    with client(house, owner.cookie, **({"origin": origin} if origin else {})) as forged:
        for path in posts:
            answer = forged.post(path, data={"question": "From elsewhere?", "everywhere": "on"})
            assert answer.status_code in (401, 403), f"{path} took a form from {origin}: {answer.status_code}"
    assert house.belongings(owner) == before


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
async def test_no_websocket_is_opened_from_another_site(house: House, owner: Tenant, origin: str) -> None:
    with pytest.raises(websockets.InvalidStatus):
        await Tab(house.url, "token").connect(owner.cookie, Origin=origin)


async def test_the_websocket_opens_from_our_own_site(house: House, owner: Tenant) -> None:
    async with tab(house.url, owner.cookie, headers={"Origin": house.url}) as own:
        await own.until(lambda tab: f"Title done {owner.secret}" in tab.seen)


def test_another_site_may_not_read_what_the_routes_answer(house: House, owner: Tenant) -> None:
    with client(house, owner.cookie, origin="https://evil.example") as forged:
        for path in ("/api/billing/status", f"/api/answers/{owner.ids['answer']}/stream"):
            assert "access-control-allow-origin" not in forged.get(path).headers


def test_what_does_not_exist_and_what_is_anothers_cannot_be_told_apart(
    house: House, owner: Tenant, stranger: Tenant
) -> None:
    nothing = "01a1f941-0000-7000-8000-000000000000"
    with client(house, stranger.cookie) as other:
        for path, found in (("/api/answers/{}/stream", "answer"), ("/api/figures/{}", "figure")):
            theirs, none = other.get(path.format(owner.ids[found])), other.get(path.format(nothing))
            assert (theirs.status_code, theirs.text) == (none.status_code, none.text) == (404, none.text)


def _requests(house: House, owner: Tenant) -> Iterator[tuple[str, str, dict[str, str] | None]]:
    """Every route with each of the owner's ids in its path, and in every field of a form."""
    for path, methods in house.inventory["routes"]:
        for method in methods:
            if "{" in path:
                for found in owner.ids.values():
                    yield method, re.sub(r"\{\w+\}", found, path), None
            elif method != "POST":
                yield method, f"{path}?account_id={owner.account_id}", None
            elif path == "/api/chat/start":  # begins an answer each time: the ids go into the other fields
                yield method, path, {"question": "", "thread_id": owner.ids["thread"], "account_id": owner.account_id}
            else:
                yield method, path, dict.fromkeys(FIELDS, owner.ids["account"])
