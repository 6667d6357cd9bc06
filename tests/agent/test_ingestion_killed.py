"""`kill -9` after or in the midst of a response: what it used is reported all the same."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlmodel import select

from chatapp.billing import delivery
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import OutboxMessage
from chatapp.settings import Settings
from tests.billing.town import Town, open_town
from tests.conftest import ROOT


@pytest.fixture
async def town(db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(db, settings, tmp_path) as opened:
        yield opened


KILLED = """
import asyncio, os, signal, sys
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from chatapp.agent import ingestion
from chatapp.billing.ingestion import PolarIngestion
from chatapp.db import Database
from chatapp.settings import load

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def script(messages, info):
    yield "word " * 60
    await asyncio.sleep(ingestion.NOTE_SECONDS + 0.5)
    die()

async def main(case, url):
    model = FunctionModel(lambda *_: ModelResponse([TextPart("Yes.")]), stream_function=script, model_name="m")
    reporting = ingestion.ReportingModel(model, PolarIngestion(Database(url), load({})), "customer-1")
    if case == "after":
        response = await reporting.request([], None, ingestion.ModelRequestParameters())
        die()
    async with Agent(reporting).run_stream_events("Why?") as events:
        async for _ in events:
            pass

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("case", "known"), [("after", ("ok", True)), ("midway", ("interrupted", False))])
async def test_a_process_killed_after_or_in_the_midst_of_a_response_has_reported_it(
    town: Town, case: str, known: tuple[str, bool], release: Callable[[Database], None]
) -> None:
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, case, town.db.url], cwd=ROOT, check=False)
    assert run.returncode == -signal.SIGKILL
    if case == "midway":
        assert await delivery.deliver(town.services) == 0, "its process may live"
        release(town.db)
    assert await delivery.deliver(town.services) == 1
    (event,) = await town.events()
    assert (event["metadata"]["status"], event["metadata"]["exact"]) == known
    assert case == "after" or event["metadata"]["output_tokens"] == 100


@pytest.fixture
def release() -> Callable[[Database], None]:
    """The lease of a dead process runs out."""
    def _release(db: Database) -> None:
        with db.session() as session:
            session.exec(select(OutboxMessage)).one().next_attempt_at = clock()
    return _release
