"""A served emulator with the real SDK before it and a webhook receiver behind it."""

import asyncio
import json
import re
import socket
import threading
import time
import typing
from dataclasses import dataclass, field, replace

import httpx
import polar.v2026_10.outputs
import pytest
import uvicorn
from polar.v2026_10 import PolarAsync
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

from emulators import polar as emulator
from emulators.clock import Clock
from emulators.config import from_environment
from emulators.faults import FaultMiddleware, Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.polar.contract import Checked

# The SDK knows too few values for the status of a subscription within a customer's state.
polar.v2026_10.outputs.Status = typing.Literal["granted", "disabled", "revoked", "active", "trialing"]

FAST = emulator.Settings(
    requests_per_minute=100_000, state_delay_seconds=0.02, usage_delay_seconds=0.02, tick_seconds=0.02,
    webhook_delays_seconds=(0.02,) * 9, webhook_timeout_seconds=1.0)


@dataclass
class Received:
    headers: dict[str, str]
    body: str

    @property
    def payload(self) -> dict:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Stands where the app's webhook route will be. `answers` are statuses to give before 202."""

    hooks: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def receive(self, request) -> Response:
        self.hooks.append(Received(dict(request.headers), (await request.body()).decode()))
        return Response(status_code=self.answers.pop(0) if self.answers else 202)

    def types(self) -> list[str]:
        return [hook.payload["type"] for hook in self.hooks]

    async def wait_for(self, kind: str, count: int = 1) -> list[Received]:
        deadline = time.monotonic() + 10
        while True:
            found = [hook for hook in self.hooks if hook.payload["type"] == kind]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{count} × {kind} did not come, only {self.types()}"
            await asyncio.sleep(0.01)


@dataclass
class Town:
    """Everything a test needs."""

    url: str
    world: World
    receiver: Receiver
    sdk: PolarAsync
    browser: httpx.AsyncClient
    checked: Checked

    async def clock(self, **asked) -> None:
        answer = await self.browser.post(f"{self.url}/polar/_emulator/clock", json=asked)
        assert answer.status_code == 200, answer.text

    async def overview(self) -> dict:
        return (await self.browser.get(f"{self.url}/polar/_emulator/overview")).json()

    async def pay(self, checkout_url: str, card: str = "4242 4242 4242 4242", **fields) -> httpx.Response:
        return await self.browser.post(checkout_url, data={"card": card, "name": "Ada", **fields})

    async def meter(self, name: str = "usage") -> str:
        made = await self.sdk.meters.create(
            name=f"Usage of {name}", aggregation={"func": "sum", "property": "units"},
            filter={"conjunction": "and", "clauses": [{"property": "name", "operator": "eq", "value": name}]})
        return made.id

    async def product(self, name: str, *prices, **fields) -> str:
        made = await self.sdk.products.create(name=name, recurring_interval="month", prices=list(prices), **fields)
        return made.id

    async def subscribe(self, product_id: str, account: str = "acct", **fields) -> str:
        """Check out and pay; returns the subscription's id."""
        checkout = await self.sdk.checkouts.create(
            products=[product_id], external_customer_id=account, customer_email=f"{account}@example.com",
            success_url="https://app.example/ok?checkout_id={CHECKOUT_ID}")
        paid = await self.pay(checkout.url, **fields)
        assert paid.status_code == 303, re.findall(r'role="alert">([^<]*)', paid.text)
        page = await self.sdk.subscriptions.list(external_customer_id=account)
        return page.items[0].id

    async def use(self, units: float, account: str = "acct", name: str = "usage", **fields) -> None:
        await self.sdk.events.ingest(events=[
            {"name": name, "external_customer_id": account, "metadata": {"units": units}, **fields}])

    async def orders(self, account: str = "acct") -> list:
        return (await self.sdk.orders.list(external_customer_id=account)).items

    async def state_when(self, condition, account: str = "acct"):
        """The customer's state as soon as `condition` holds of it."""
        deadline = time.monotonic() + 10
        while True:
            state = await self.sdk.customers.get_state_external(account)
            if condition(state):
                return state
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.01)


@pytest.fixture
def settings() -> emulator.Settings:
    return FAST


@pytest.fixture
async def town(tmp_path, settings):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    store, receiver = Store(tmp_path / "emulators.db"), Receiver()
    config = replace(from_environment(), url=url, app_url=url, database=tmp_path / "emulators.db")
    world = World(config, store, Clock(store), Faults(store))
    checked = Checked(Starlette(routes=emulator.routes(world, settings)))
    app = Starlette(
        routes=[Mount("/polar", FaultMiddleware(checked, faults=world.faults, vendor="polar")),
                Route("/api/webhooks/polar", receiver.receive, methods=["POST"])],
        lifespan=lambda _: emulator.background(world))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:  # noqa: ASYNC110  # uvicorn tells in no other way
        await asyncio.sleep(0.005)
    async with PolarAsync(config.keys["polar"], base_url=f"{url}/polar", timeout=30) as sdk, \
            httpx.AsyncClient(trust_env=False, timeout=30) as browser:
        yield Town(url, world, receiver, sdk, browser, checked)
    server.should_exit = True
    await asyncio.to_thread(thread.join)
    store.close()
    listener.close()
    assert not checked.problems, "\n".join(checked.problems)
