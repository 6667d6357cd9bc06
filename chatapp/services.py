"""Everything that talks to the outside, built once: what handlers, routes and background work are handed."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from pydantic_ai.models.openai import OpenAIChatModel

from chatapp.clients.code import CodeRunner
from chatapp.clients.daytona import Daytona
from chatapp.clients.llm import build_model, close_model
from chatapp.clients.monty import Monty
from chatapp.clients.polar import Polar
from chatapp.clients.resend import Resend
from chatapp.clients.supabase import Supabase
from chatapp.clients.valyu import Valyu
from chatapp.db import Database
from chatapp.settings import Settings

VALYU_SECONDS = 30.0
DAYTONA_SECONDS = 60.0


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
    model: OpenAIChatModel

    async def close(self) -> None:
        """Close all connections."""
        await self.code_runner.close()
        await self.valyu.close()
        await self.polar.close()
        await close_model(self.model)
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
        valyu=Valyu(base_url=settings.valyu.url, key=settings.valyu.key, timeout_seconds=VALYU_SECONDS),
        code_runner=_code_runner(settings),
        model=build_model(settings),
    )


def _code_runner(settings: Settings) -> CodeRunner:
    if settings.daytona is None:
        return Monty()
    return Daytona(api_url=settings.daytona.url, key=settings.daytona.key, timeout_seconds=DAYTONA_SECONDS)
