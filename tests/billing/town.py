"""An emulated Polar, served over HTTP with its faults, and the app's webhook route behind it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from chatapp.billing import holds, ledger, subscriptions
from chatapp.billing.catalog import PLANS
from chatapp.clients.polar import Polar
from chatapp.db import Database, now
from chatapp.routes import webhooks
from chatapp.services import Services
from chatapp.settings import Settings, Vendor
from emulators import polar as emulator
from emulators.clock import Clock
from emulators.config import from_environment
from emulators.faults import Fault, FaultMiddleware, Faults
from emulators.store import Store
from emulators.world import World
from tests.billing.conftest import BOUND, PRICES, entitlement

FAST = emulator.Settings(
    requests_per_minute=100_000, state_delay_seconds=0.02, usage_delay_seconds=0.02, tick_seconds=0.02,
    webhook_delays_seconds=(0.02,) * 9, webhook_timeout_seconds=5.0)


@dataclass(frozen=True)
class BillingServices:
    """The services that billing uses; the app's have more."""

    settings: Settings
    db: Database
    polar: Polar


@dataclass
class Town:
    """Everything a test of billing against Polar needs."""

    services: Services
    world: World
    browser: httpx.AsyncClient

    @property
    def db(self) -> Database:
        return self.services.db

    def fault(self, kind: Fault, *, path: str = "", times: int | None = None, seconds: float = 0.3) -> None:
        self.world.faults.switch_on("polar", kind, path=path, times=times, seconds=seconds)

    def mend(self) -> None:
        self.world.faults.switch_off("polar")

    async def pay(self, checkout_url: str, card: str = "4242 4242 4242 4242") -> str:
        """Pay on the checkout's page; returns where it sends the person."""
        paid = await self.browser.post(checkout_url, data={"card": card, "name": "Ada"})
        assert paid.status_code == 303, paid.text
        return str(paid.headers["location"])

    def use(self, account_id: str, plan_key: str = "pay_per_use", *, cost_usd: str | None = None) -> str:
        """One paid step from hold to ledger; returns the event's id."""
        may = entitlement(account_id, PLANS[plan_key])
        hold = holds.place(self.db, may, turn_id="turn", thread_id="thread", kind="model", provider="openai",
                           name="gpt-x", prices=PRICES, bound_cost_usd=Decimal(1), quantities_bound=BOUND, now=now())
        return ledger.settle(self.db, hold, {"input_tokens": 700, "output_tokens": 33}, exact=True, status="ok",
                             cost_usd=Decimal(cost_usd) if cost_usd else None, now=now()).id

    def plan(self, account_id: str) -> str:
        return subscriptions.plan_of(self.db, account_id, self.services.settings, now()).key

    async def events(self) -> list[dict[str, Any]]:
        """What Polar has received."""
        url = self.services.settings.polar.url
        return cast(list[dict[str, Any]], (await self.browser.get(f"{url}/_emulator/overview")).json()["events"])


@asynccontextmanager
async def open_town(
    db: Database, settings: Settings, folder: Path, polar_settings: emulator.Settings = FAST
) -> AsyncIterator[Town]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = replace(settings, public_url=url, api_url=url,
                       polar=Vendor(settings.polar.key, f"{url}/polar", emulated=True))
    store = Store(folder / "emulators.db")
    world = World(replace(from_environment(), url=url, app_url=url, database=folder / "emulators.db"), store,
                  Clock(store), Faults(store))
    services = cast(Services, BillingServices(settings, db, Polar(settings.polar, timeout_seconds=5)))
    app = Starlette(
        routes=[
            Mount("/polar", FaultMiddleware(Starlette(routes=emulator.routes(world, polar_settings)),
                                            faults=world.faults, vendor="polar")),
            *webhooks.routes(services),
        ],
        lifespan=lambda _: emulator.background(world),
    )
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    await until(lambda: server.started)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as browser:
        yield Town(services, world, browser)
    await services.polar.close()
    server.should_exit = True
    await asyncio.to_thread(thread.join)
    store.close()
    listener.close()


async def until(condition: Callable[[], object] | Callable[[], Awaitable[object]], seconds: float = 15) -> None:
    """Wait until the condition holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, "it never came to pass"
        await asyncio.sleep(0.01)
