"""No one reads or changes anything of another account, whatever arrives on the websocket."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import httpx
import pytest

from tests.state.house import House, Tenant
from tests.state.wire import Tab, tab

VARIABLES = ("thread_id", "message_id", "open_id", "messages", "_account_id")
CHAT = "reflex___state____state.chatapp___state___chat____chat"


async def test_an_owner_sees_everything_that_the_other_tests_look_for(house: House, owner: Tenant) -> None:
    async with tab(house.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        for kind in ("Title done", "Title running", "Question", "Answer", "Source", "Name"):
            await own.until(lambda tab, kind=kind: f"{kind} {owner.secret}" in tab.seen)
        await own.until(lambda tab: f"{owner.secret}@example.org" in tab.seen)


def test_every_public_method_of_a_state_class_is_among_the_handlers_that_are_tried(house: House) -> None:
    tried = set(house.inventory["handlers"])
    assert len(tried) > 15
    for state, methods in house.inventory["methods"].items():
        assert {f"{state}.{method}" for method in methods} <= tried, f"{state} has a method that no test calls"


@pytest.mark.parametrize("who", ["stranger", "nobody", "revoked"])
async def test_no_event_handler_tells_or_changes_anything_of_another_account(
    house: House, owner: Tenant, stranger: Tenant, who: str
) -> None:
    cookie = {"stranger": stranger.cookie, "nobody": "", "revoked": owner.revoked}[who]
    before = house.belongings(owner)
    for path, query in _places(owner)[:4 if who == "stranger" else 1]:
        async with tab(house.url, cookie, path=path, query=query) as other:
            for name, payload in _calls(house, owner):
                await other.event(name, **payload)
            await other.settle()
            assert len(other.frames) > 20
            assert owner.secret not in other.seen
    assert house.belongings(owner) == before
    assert owner.secret not in house.log


async def test_a_stranger_is_told_that_the_chat_does_not_exist(house: House, owner: Tenant, stranger: Tenant) -> None:
    async with tab(house.url, stranger.cookie, path=f"/chat/{owner.ids['thread']}/") as other:
        await other.until(lambda tab: '"missing_rx_state_":true' in tab.seen)


async def test_a_question_in_another_accounts_chat_is_refused_and_costs_nothing(
    house: House, owner: Tenant, stranger: Tenant
) -> None:
    before = house.belongings(owner)
    async with tab(house.url, stranger.cookie, path=f"/chat/{owner.ids['thread']}/") as other:
        await other.event(f"{CHAT}.send", form={"question": "Whose chat is this?"})
        await other.until(lambda tab: "belongs to another account" in tab.seen)
    assert house.belongings(owner) == before
    left = house.belongings(stranger)
    assert left["Thread"] == left["Message"] == left["Turn"] == left["UsageEvent"] == []


async def test_the_owners_running_answer_cannot_be_stopped_or_read_by_another(
    house: House, owner: Tenant, stranger: Tenant
) -> None:
    async with tab(house.url, owner.cookie, path="/") as own:
        await own.event(f"{CHAT}.send", form={"question": f"What is {owner.secret}?"})
        await own.until(_redirected)
    running = next(message for message in house.belongings(owner)["Message"]
                   if message["status"] == "streaming" and message["id"] != owner.ids["running"])
    async with tab(house.url, stranger.cookie, path=f"/chat/{running['thread_id']}/") as other:
        await other.event(f"{CHAT}.stop")
        await other.event(f"{CHAT}.finished", message_id=running["id"], status="stopped")
        await other.settle()
        assert owner.secret not in other.seen
    async with httpx.AsyncClient(headers={"cookie": stranger.cookie}, trust_env=False) as client:
        assert (await client.get(f"{house.url}/api/answers/{running['id']}/stream")).status_code == 404
    async with httpx.AsyncClient(headers={"cookie": owner.cookie}, trust_env=False, timeout=30) as client:
        assert owner.secret in (await client.get(f"{house.url}/api/answers/{running['id']}/stream")).text
    [answer] = [message for message in house.belongings(owner)["Message"] if message["id"] == running["id"]]
    assert answer["status"] == "done"


def _redirected(tab: Tab) -> bool:
    return "_redirect" in tab.seen and "/chat/" in tab.seen


def _places(owner: Tenant) -> list[tuple[str, dict[str, str]]]:
    """Pages of the owner: in the address, in the query, and in both at odds."""
    threads = owner.ids["thread"], owner.ids["running_thread"]
    return [
        (f"/chat/{threads[0]}/", {"thread_id": threads[0]}),
        (f"/chat/{threads[0]}/", {"thread_id": threads[1]}),
        ("/chat/[thread_id]", {"thread_id": threads[1]}),
        ("/", {"thread_id": threads[0], "notice": threads[0], "limit": threads[0], "email": threads[0]}),
    ]


def _calls(house: House, owner: Tenant) -> Iterator[tuple[str, dict[str, object]]]:
    """Every handler with each of the owner's ids in each place of its arguments, in several shapes."""
    for name, parameters in house.inventory["handlers"].items():
        state, _, method = name.rpartition(".")
        if method == "setvar":
            for variable in ("messages", "open_id", "_account_id", "thread_id", "is_hydrated", "router_data"):
                yield name, {"var_name": variable, "value": owner.ids["running"]}
            continue
        if not parameters:
            yield name, {}
        for parameter, found in product(parameters, owner.ids.values()):
            rest = {other: "" for other in parameters if other != parameter}
            shapes: list[object] = [found, [found], {f"{state}.{variable}": found for variable in VARIABLES}]
            if parameter == "form":  # every question is an answer more to write: none is asked here
                shapes = [{"thread_id": found, "message_id": found, "id": found}]
            for shape in shapes:
                yield name, {parameter: shape, **rest}
