"""The page about ingestion: its code runs as it stands, in a process that has nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatapp.billing.provision import apply
from chatapp.billing.reconcile import local_differences
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.settings import Settings
from tests.billing.town import Town, open_town
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "ingestion.md"


@pytest.fixture
async def town(sqlite_db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(sqlite_db, settings, tmp_path) as opened:
        yield opened


async def test_the_pages_code_runs_and_all_its_events_arrive_once(town: Town, tmp_path: Path) -> None:
    await apply(town.services)
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    script = tmp_path / "page.py"
    script.write_text(code)
    polar = town.services.settings.polar
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": town.db.url, "POLAR_TOKEN": polar.key,
        "POLAR_URL": polar.url, "POLAR_WEBHOOK_SECRET": "whsec_page", "LIMITS": "on",
    }
    run = await asyncio.to_thread(subprocess.run, [sys.executable, str(script)], cwd=tmp_path, env=environment,
                                  capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "'job-7' is that of another event" in run.stdout
    assert Counter(event["name"] for event in await town.events() if event["name"] != "meter_reset") == Counter(
        {"render": 3, "chat": 1, "signed_up": 1, "llm": 1, "usage.included": 1})
    assert local_differences(town.db, clock()) == []
