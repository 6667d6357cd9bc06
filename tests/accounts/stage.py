"""A stage for sign-in flows: the app's own routes, a database, and Supabase and Resend emulated behind real HTTP."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlmodel import col, select
from starlette.applications import Starlette
from starlette.routing import Mount

from chatapp import settings as app_settings
from chatapp.accounts import sessions
from chatapp.accounts.sessions import Session
from chatapp.clients.resend import Resend
from chatapp.clients.supabase import Supabase
from chatapp.db import Database, now
from chatapp.models import OutboxMessage
from chatapp.routes import auth, hooks
from chatapp.settings import Settings
from emulators import resend as resend_emulator
from emulators import supabase as supabase_emulator
from emulators.clock import Clock
from emulators.faults import FaultMiddleware, Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.loopback import configuration, place, serving

PASSWORD = "correct horse battery"


@dataclass
class Stage:
    """What `chatapp.services.Services` is to the app, as far as accounts and mail are concerned."""

    settings: Settings
    db: Database
    http: httpx.AsyncClient
    supabase: Supabase
    resend: Resend
    world: World
    app: Starlette = field(default_factory=Starlette)

    def mails(self, to: str) -> list[OutboxMessage]:
        """What is queued for an address, the oldest first."""
        with self.db.reading() as session:
            rows = session.exec(select(OutboxMessage).order_by(col(OutboxMessage.created_at), col(OutboxMessage.id)))
            return [row for row in rows if row.payload["to"] == to]

    def link(self, to: str) -> dict[str, str]:
        """The query of the link in the newest mail to an address."""
        found = re.search(r"\S+/auth/confirm/\?\S+", self.mails(to)[-1].payload["text"])
        assert found is not None
        return {key: values[0] for key, values in parse_qs(urlsplit(found[0]).query).items()}

    async def person(self, name: str = "") -> str:
        """A confirmed person at Supabase, with PASSWORD; returns their address."""
        email = f"{uuid.uuid4().hex[:12]}@example.com"
        answer = await self.http.post(
            f"{self.settings.supabase.url}/auth/v1/admin/users",
            headers={"apikey": self.world.config.keys["supabase_secret"],
                     "authorization": f"Bearer {self.world.config.keys['supabase_secret']}"},
            json={"email": email, "password": PASSWORD, "email_confirm": True, "user_metadata": {"name": name}},
        )
        assert answer.status_code == 200, answer.text
        return email


class TestBrowser:
    """A browser with a cookie jar of its own, at an address of its own."""

    __test__ = False

    def __init__(self, stage: Stage, address: str = "203.0.113.5") -> None:
        self.stage = stage
        transport = httpx.ASGITransport(stage.app, client=(address, 4711))
        self.http = httpx.AsyncClient(transport=transport, base_url=stage.settings.api_url)

    async def post(self, form: str, **fields: str) -> httpx.Response:
        """Send a form from our own page."""
        return await self.http.post(
            f"/api/auth/{form}", data=fields or {"-": ""}, headers={"origin": self.stage.settings.public_url}
        )

    async def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return await self.post("sign-in", email=email, password=password, **fields)

    @property
    def cookie_header(self) -> str | None:
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items()) or None

    @property
    def session(self) -> Session | None:
        """Who the app thinks this is."""
        return sessions.current(self.stage.db, self.cookie_header, self.stage.settings, now())


def query(response: httpx.Response) -> dict[str, str]:
    """The query of a redirect."""
    return {k: v[0] for k, v in parse_qs(urlsplit(response.headers["location"]).query).items()}


def path(response: httpx.Response) -> str:
    """The path of a redirect."""
    assert response.status_code == 303, (response.status_code, response.text)
    return urlsplit(response.headers["location"]).path


@asynccontextmanager
async def staged(db: Database, folder: Path) -> AsyncIterator[Stage]:
    """Serve the emulators and the app's hook in this loop until the end of the block."""
    vendors, own = place(), place()
    config = configuration(vendors.url, own.url, folder / "emulators.db")
    store = Store(config.database)
    world = World(config, store, Clock(store), Faults(store))
    mounts = [
        Mount(f"/{name}", FaultMiddleware(Starlette(routes=module.routes(world)), faults=world.faults, vendor=name))
        for name, module in (("supabase", supabase_emulator), ("resend", resend_emulator))
    ]
    settings = app_settings.load({"EMULATORS_URL": vendors.url, "PUBLIC_URL": own.url, "API_URL": own.url})
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        stage = Stage(settings, db, http, Supabase(settings.supabase, http), Resend(settings.resend), world)
        stage.app.router.routes.extend([*auth.routes(stage, even_seconds=0), *hooks.routes(stage)])
        await stack.enter_async_context(serving(Starlette(routes=mounts), vendors))
        await stack.enter_async_context(serving(stage.app, own))
        yield stage


@pytest.fixture(name="stage")
async def stage_fixture(db: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on SQLite and on Postgres."""
    async with staged(db, tmp_path) as stage:
        yield stage


@pytest.fixture(name="sqlite_stage")
async def sqlite_stage_fixture(sqlite_db: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage where the kind of database does not matter."""
    async with staged(sqlite_db, tmp_path) as stage:
        yield stage
