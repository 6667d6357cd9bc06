"""A client token is chosen by the browser and proves nothing: what a state holds is shown to its session alone."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chatapp.accounts import sessions
from chatapp.db import now
from chatapp.models import Subscription
from tests.conftest import free_port
from tests.state.house import House, Tenant, opened
from tests.state.wire import ROOT, tab

CHAT = f"{ROOT}.chatapp___state___chat____chat"
WAIT = f"{ROOT}.chatapp___state___checkout____checkout_result.wait"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of our own; yields its address."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed: install Debian's package 'redis-server' to test with it.")
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module", params=["memory", "disk", "redis"])
def keeping(
    request: pytest.FixtureRequest, emulators: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The house with each of Reflex's ways to keep states."""
    if request.param == "memory":
        yield request.getfixturevalue("house")
        return
    mode: dict[str, str] = {"REFLEX_STATE_MANAGER_MODE": request.param}
    if request.param == "redis":
        mode["REFLEX_REDIS_URL"] = request.getfixturevalue("redis")
    folder: Path = tmp_path_factory.mktemp(request.param)
    with opened(folder, emulators, **mode) as running:
        yield running


@pytest.fixture
def owner(keeping: House) -> Tenant:
    tenant = keeping.tenant()
    keeping.furnish(tenant)
    return tenant


@pytest.mark.parametrize("who", ["stranger", "nobody", "revoked"])
async def test_whoever_learns_a_client_token_gets_nothing_of_its_state(
    keeping: House, owner: Tenant, who: str
) -> None:
    cookie = {"stranger": keeping.tenant().cookie, "nobody": "", "revoked": owner.revoked}[who]
    token = await _left_by(keeping, owner)
    for hydrate in (True, False):
        async with tab(keeping.url, cookie, token=token, hydrate=hydrate) as other:
            await other.event(f"{ROOT}.hydrate")
            await other.event(f"{CHAT}.dismiss")
            await other.settle()
            assert owner.secret not in other.seen


async def test_a_second_tab_with_the_token_of_an_open_one_gets_nothing_of_its_state(
    keeping: House, owner: Tenant
) -> None:
    async with tab(keeping.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)
        async with tab(keeping.url, keeping.tenant().cookie, token=own.token) as other:
            await own.event(f"{CHAT}.open")
            await own.settle()
            await other.settle()
            assert owner.secret not in other.seen


async def test_the_owner_still_finds_the_state_under_the_token(keeping: House, owner: Tenant) -> None:
    token = await _left_by(keeping, owner)
    async with tab(keeping.url, owner.cookie, token=token, hydrate=False) as own:
        await own.event(f"{ROOT}.hydrate")
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)


async def test_a_session_that_is_revoked_while_its_tab_is_open_sees_nothing_more(
    keeping: House, owner: Tenant
) -> None:
    async with tab(keeping.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)
        token_hash = sessions.hash_in(owner.cookie, keeping.settings)
        assert token_hash
        with keeping.db.session() as session:
            sessions.revoke(session, keeping.settings, token_hash, now())
        await own.settle()
        own.frames.clear()
        await own.event(f"{ROOT}.hydrate")
        await own.event(f"{CHAT}.open")
        await own.settle()
        assert owner.secret not in own.seen


async def test_background_work_of_a_session_never_reports_to_another_with_the_same_token(
    keeping: House, owner: Tenant
) -> None:
    """The owner leaves while the page waits for a payment; a stranger takes the token before the payment arrives."""
    async with tab(keeping.url, owner.cookie, path="/checkout/success/") as own:
        await own.until(lambda tab: '"phase_rx_state_":"waiting"' in tab.seen)
        token = own.token
        await own.event(WAIT)
        await own.settle()
    async with tab(keeping.url, keeping.tenant().cookie, token=token, hydrate=False) as other:
        with keeping.db.session() as session:
            session.add(Subscription(
                account_id=owner.account_id, polar_subscription_id="s", polar_customer_id="c", plan="unlimited",
                status="active", current_period_start=now(), current_period_end=now() + timedelta(days=30),
                refreshed_at=now()))
        await asyncio.sleep(1.2)  # the page looks every half second
        assert owner.secret not in other.seen


async def _left_by(house: House, owner: Tenant) -> str:
    """The owner opens a chat and leaves; returns the token that their tab had."""
    async with tab(house.url, owner.cookie, path=f"/chat/{owner.ids['thread']}/") as own:
        await own.until(lambda tab: f"Answer {owner.secret}" in tab.seen)
        return own.token
