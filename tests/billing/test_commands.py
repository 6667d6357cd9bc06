"""`python -m chatapp.billing`: the same work by hand or by cron."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatapp.billing.__main__ import main
from chatapp.db import Database
from chatapp.settings import Settings
from emulators.faults import Fault
from tests.billing.conftest import new_account
from tests.billing.town import Town, open_town


@pytest.fixture
async def town(
    sqlite_db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    async with open_town(sqlite_db, settings, tmp_path) as opened:
        monkeypatch.setenv("EMULATORS_URL", opened.services.settings.public_url)
        monkeypatch.setenv("DATABASE_URL", sqlite_db.url)
        yield opened


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(main, list(arguments))


async def test_the_books_are_delivered_compared_and_explained_by_command(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    event_id = town.use(new_account(town.db))
    for arguments, said in ((["apply"], "pay_per_use"), (["deliver"], "1 events delivered"),
                            (["reconcile"], "0 differences"), (["explain", event_id], "$0.002496"),
                            (["retry-parked"], "0 parked")):
        assert await command(*arguments) == 0
        assert said in capsys.readouterr().out


async def test_what_cannot_be_done_ends_with_its_reason(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("explain", "no-such-event") == 1
    assert await command("webhook") == 1, "Polar delivers to no address of this machine"
    assert "422" in capsys.readouterr().err
    town.fault(Fault.SERVER_ERROR)
    assert await command("apply") == 1
    assert "500" in capsys.readouterr().err
