"""Everything that talks to the outside, built once: what handlers, routes and background work are handed."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from pydantic_ai.models import Model

from chatapp.clients.code import CodeRunner
from chatapp.clients.daytona import Daytona
from chatapp.clients.llm import build_model
from chatapp.clients.monty import Monty
from chatapp.clients.polar import Polar
from chatapp.clients.resend import Resend
from chatapp.clients.supabase import Supabase
from chatapp.clients.valyu import Valyu
from chatapp.db import Database
from chatapp.settings import Settings


@dataclass(frozen=True)
class Services:
    """The app's clients. Replace any of them in a test with one that points elsewhere."""

    settings: Settings
    db: Database
    http: httpx.AsyncClient
    supabase: Supabase
    polar: Polar
    resend: Resend
    valyu: Valyu
    code_runner: CodeRunner
    model: Model

    async def close(self) -> None:
        """Close all connections."""
        await self.code_runner.close()
        await self.http.aclose()
        self.db.close()


def build(settings: Settings) -> Services:
    """Build every client. Opens no connection and starts nothing."""
    http = httpx.AsyncClient(timeout=httpx.Timeout(10, connect=5))
    return Services(
        settings=settings,
        db=Database(settings.database_url),
        http=http,
        supabase=Supabase(settings.supabase, http),
        polar=Polar(settings.polar),
        resend=Resend(settings.resend),
        valyu=Valyu(settings.valyu),
        code_runner=Daytona(settings.daytona) if settings.daytona else Monty(),
        model=build_model(settings),
    )
