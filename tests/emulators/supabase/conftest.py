"""A Supabase emulator, the app's hook beside it, and the real SDK in front of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from supabase_auth import AsyncGoTrueClient

from emulators import supabase
from emulators.clock import Clock
from emulators.faults import Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.loopback import configuration, place, serving
from tests.emulators.openapi import Contract

PREFIX = "/supabase/auth/v1"
PASSWORD = "correct horse battery"


@dataclass
class App:
    """The app's side of the Send Email Hook: verifies, keeps, and answers as a test wants."""

    secret: str = ""
    payloads: list[dict[str, Any]] = field(default_factory=list)
    webhook_ids: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    """Answers of the next calls, in order; after that, `{}`."""
    delay_seconds: float = 0

    async def hook(self, request: Request) -> Response:
        body = await request.body()
        Webhook(self.secret.removeprefix("v1,")).verify(body, dict(request.headers))
        self.webhook_ids.append(request.headers["webhook-id"])
        self.payloads.append(json.loads(body))
        await asyncio.sleep(self.delay_seconds)
        return self.answers.pop(0) if self.answers else JSONResponse({})

    @property
    def email_data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.payloads[-1]["email_data"]
        return data


@dataclass
class Server:
    """The emulator over HTTP, and its world."""

    world: World
    app: App
    http: httpx.AsyncClient
    """For the SDK: each exchange is held against the interface document."""
    raw: httpx.AsyncClient
    """For requests that no SDK would send."""
    url: str
    checked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of the exchanges that were held against the interface document."""

    def client(self, *, secret: bool = False) -> AsyncGoTrueClient:
        """A new SDK client, made as the app makes one: one per operation."""
        key = self.world.config.keys["supabase_secret" if secret else "supabase"]
        return AsyncGoTrueClient(
            url=self.url, headers={"apikey": key, "Authorization": f"Bearer {key}"}, http_client=self.http,
            auto_refresh_token=False, persist_session=False, flow_type="pkce",
        )  # fmt: skip

    def advance(self, **by: float) -> None:
        self.world.clock.advance(timedelta(**by))

    async def sign_up(self, email: str = "ada@example.com", password: str = PASSWORD) -> AsyncGoTrueClient:
        """An account with a confirmed address; returns a client that is signed in."""
        client = self.client()
        await client.sign_up({"email": email, "password": password})
        await client.verify_otp({"type": "email", "token_hash": self.app.email_data["token_hash"]})
        return client

    async def hold_against_contract(self, response: httpx.Response) -> None:
        """Check an exchange of the SDK with the OpenAPI document, where that describes it.

        The document forgets what the server allows: nulls for what is not set, the types `email` and `invite`, and
        identities whose `id` is Google's number. Error bodies are described in the form before API version
        2024-01-01 only, so they are checked in a test of their own.
        """
        await response.aread()
        request = response.request
        path = request.url.path.removeprefix(PREFIX)
        contract = Contract("supabase-auth.openapi.yaml")
        described = False
        if request.content:
            body = _without_nulls(json.loads(request.content))
            if body.get("type") in ("email", "invite"):
                body["type"] = "signup"
            described |= contract.check_request(request.method, path, body)
        if response.status_code == 200:
            described |= contract.check_answer(request.method, path, 200, _with_uuid_identities(response.json()))
        if described:
            self.checked.append((request.method, path))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    app, app_place, emulator_place = App(), place(), place()
    config = configuration(emulator_place.url, app_place.url, tmp_path / "emulators.db")
    app.secret = config.send_email_hook_secret
    store = Store(config.database)
    world = World(config, store, Clock(store), Faults(store))
    hook = Starlette(routes=[Route("/api/hooks/send-email", app.hook, methods=["POST"])])
    emulator = Starlette(routes=[Mount("/supabase", routes=supabase.routes(world))])
    async with (
        serving(hook, app_place),
        serving(emulator, emulator_place),
        httpx.AsyncClient() as http,
        httpx.AsyncClient() as raw,
    ):
        made = Server(world, app, http, raw, emulator_place.url + PREFIX)
        http.event_hooks["response"].append(made.hold_against_contract)
        yield made
    store.close()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def _with_uuid_identities(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_uuid_identities(item) for item in value]
    if isinstance(value, dict):
        named = (
            {**value, "id": value["identity_id"]}
            if value.get("provider") == "google" and "identity_id" in value
            else value
        )
        return {name: _with_uuid_identities(item) for name, item in named.items()}
    return value
