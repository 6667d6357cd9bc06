"""Whatever arrives on the websocket: no crash, no cookie in the log, and memory as before."""

from __future__ import annotations

import json
from contextlib import suppress

import httpx
import pytest
import websockets

from tests.state.house import House, Tenant
from tests.state.wire import ROOT, Tab, tab

CHAT = f"{ROOT}.chatapp___state___chat____chat"
WRONG: list[object] = [None, True, -1, 1e308, "", "\x00", "x" * 100_000, [], [[[]]], {}, {"question": None},
                       {"question": ["x"]}, {"question": {"a": 1}}, {"question": "\x00 \x00"},
                       {"": ""}, "../../etc/passwd", "' OR 1=1 --"]


async def _still_answers(house: House, owner: Tenant) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{house.url}/api/health")).json() == {"status": "ok"}
    async with tab(house.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)


async def test_arguments_of_wrong_types_are_refused_or_ignored(house: House, owner: Tenant) -> None:
    async with tab(house.url, owner.cookie) as own:
        for name, parameters in house.inventory["handlers"].items():
            if name.endswith((".setvar", ".wait")):
                continue
            for wrong in WRONG:
                await own.event(name, **dict.fromkeys(parameters, wrong))
            await own.event(name, **dict.fromkeys([*parameters, "unknown"], "x"))
            await own.event(name)
        await own.settle()
    await _still_answers(house, owner)
    assert all(message["text"].strip() for message in house.belongings(owner)["Message"] if message["role"] == "user")


@pytest.mark.parametrize("query", [
    {"thread_id": "x" * 10_000}, {"thread_id": "\x00"}, {"thread_id": "../../x"}, {"limit": "1", "notice": "<script>"},
    {"wait": "9" * 5_000, "error": "throttled"}, {"next": "//evil.example"},
])
async def test_addresses_of_any_form_open_a_page(house: House, owner: Tenant, query: dict[str, str]) -> None:
    for path in ("/", "/chat/[thread_id]", "/chat/nonsense/", "/sign-in/", "/nowhere/", ""):
        async with tab(house.url, owner.cookie, path=path, query=query) as own:
            await own.event(f"{CHAT}.dismiss")
            await own.settle()
    await _still_answers(house, owner)


@pytest.mark.parametrize("frame", [
    '42/_event,["event",null]', '42/_event,["event",[]]', '42/_event,["event",{}]', '42/_event,["event","x"]',
    '42/_event,["event",{"name":5}]', '42/_event,["event",{"name":"x","router_data":5}]',
    '42/_event,["event",{"name":"x","payload":5,"router_data":{"pathname":5}}]', '42/_event,[]', "42/_event,{", "4",
    "42", "9", "", "40/other,", '42/_event,["connect"]', '42/_event,["on_connect","x",{}]', "b" + "A" * 100,
    '42/_event,["client_error",{"message":{}}]', '451-/_event,["event",{"_placeholder":true,"num":0}]',
])
async def test_frames_of_any_form_do_no_harm_to_others(house: House, owner: Tenant, frame: str) -> None:
    async with tab(house.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)
        async with tab(house.url, house.tenant().cookie) as other:
            await other.raw(frame)
            await other.raw(frame.encode() if frame else b"\x04")
        own.frames.clear()
        await own.event(f"{CHAT}.open")
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)


async def test_an_unknown_event_is_logged_without_the_cookie_and_without_its_bulk(house: House, owner: Tenant) -> None:
    before = len(house.log)
    async with tab(house.url, owner.cookie) as own:
        await own.event(f"{ROOT}.chatapp___state___chat____chat.no_such_handler", form={"question": "q" * 500_000})
        await own.event("n" * 500_000)
        await own.event("state.__init__")
        await own.event(f"{CHAT}._account")
        await own.settle()
    logged = house.log[before:]
    assert "no_such_handler" in logged
    assert "session=(removed)" in logged
    assert owner.cookie.removeprefix("session=") not in house.log
    assert len(logged) < 100_000


async def test_a_frame_of_more_than_a_megabyte_closes_its_socket_alone(house: House, owner: Tenant) -> None:
    async with tab(house.url, owner.cookie) as own:
        await own.raw("42/_event," + json.dumps(["event", {"name": "x" * 1_100_000}]))
        await own.until(lambda tab: tab.closed)
    await _still_answers(house, owner)


async def test_large_frames_leave_no_memory_behind(house: House, owner: Tenant) -> None:
    async def flood(tab: Tab) -> None:
        for _ in range(20):
            await tab.event(f"{CHAT}.send", form={"question": "x" * 900_000})
            await tab.event(f"{CHAT}.finished", message_id="x" * 900_000, status="x")
        await tab.settle()

    async with tab(house.url, owner.cookie) as own:
        await flood(own)
        before = house.memory_mb
        await flood(own)
        await flood(own)
        assert house.memory_mb < before + 40
        assert "900,000 characters" in own.seen


async def test_a_client_token_of_any_form_is_only_a_name(house: House, owner: Tenant) -> None:
    for token in ("..%2F..%2Fx", "a" * 5_000, "%00", "x_reflex___state____state", "*", "%F0%9F%98%80"):
        async with tab(house.url, owner.cookie, token=token, path=f"/chat/{owner.ids['thread']}/") as own:
            await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)


async def test_half_a_character_closes_at_most_the_socket_of_its_sender(house: House, owner: Tenant) -> None:
    """JSON can carry half of a surrogate pair, which no UTF-8 can: what echoes it cannot be sent."""
    stranger = house.tenant()
    async with tab(house.url, stranger.cookie, query={"email": "\ud800"}) as other:
        with suppress(websockets.ConnectionClosed):  # the page's own load may have closed it already
            await other.event(f"{ROOT}.set_is_hydrated", value="\ud800")
        await other.until(lambda tab: tab.closed)
    await _still_answers(house, owner)


async def test_half_a_character_in_a_question_is_replaced(house: House) -> None:
    asker = house.tenant()
    async with tab(house.url, asker.cookie) as own:
        await own.event(f"{CHAT}.send", form={"question": "lorem 5 \ud83d and on"})
        await own.until(lambda tab: "_redirect" in tab.seen)
    assert [thread["title"] for thread in house.belongings(asker)["Thread"]] == ["lorem 5 \ufffd and on"]
