"""`python -m chatapp.billing`: the same work by hand or by cron."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatapp.billing.__main__ import main
from chatapp.db import Database
from chatapp.settings import Settings
from emulators.faults import Fault
from tests.billing.conftest import new_account
from tests.billing.town import Town, open_town, until


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


async def test_a_charge_is_corrected_by_command_and_polar_gets_the_difference(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    account_id = new_account(town.db)
    event_id = town.use(account_id)
    await command("apply")
    assert await command("correct", event_id, "--cost-usd", "0.001", "--reason", "the vendor's mistake") == 0
    said = capsys.readouterr().out
    assert "charge of $0.0012: the vendor's mistake" in said
    assert await command("deliver") == 0
    assert "3 events delivered" in capsys.readouterr().out
    assert await command("reconcile") == 0
    assert await command("correct", "no-such-event", "--cost-usd", "0", "--reason", "x") == 1
    for amount in ("cheap", "-1", "NaN"):
        with pytest.raises(SystemExit):
            main(["correct", event_id, f"--cost-usd={amount}", "--reason", "x"])
        assert "is no amount of dollars" in capsys.readouterr().err


async def test_what_cannot_be_done_ends_with_its_reason(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("explain", "no-such-event") == 1
    assert await command("webhook") == 1, "Polar delivers to no address of this machine"
    assert "422" in capsys.readouterr().err
    town.fault(Fault.SERVER_ERROR)
    assert await command("apply") == 1
    assert "500" in capsys.readouterr().err


async def test_malformed_settings_end_a_command_with_their_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LISTEN_HOST", "everywhere")
    assert await command("deliver") == 1
    assert "LISTEN_HOST is 'everywhere'" in capsys.readouterr().err


async def test_the_set_up_needs_no_webhook_secret_and_everything_else_does(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLAR_WEBHOOK_SECRET", "")
    monkeypatch.setenv("POLAR_TOKEN", town.services.settings.polar.key)
    monkeypatch.setenv("POLAR_URL", town.services.settings.polar.url)
    assert await command("apply") == 0
    assert "python -m chatapp.billing webhook" in capsys.readouterr().out
    assert await command("webhook") == 1, "Polar delivers to no address of this machine"
    assert "422" in capsys.readouterr().err, "it came as far as Polar"
    assert await command("deliver") == 1
    assert "POLAR_WEBHOOK_SECRET is missing" in capsys.readouterr().err


@asynccontextmanager
async def without_scope(town: Town) -> AsyncIterator[str]:
    """Polar's address for a token without the scopes of webhooks: everything else is passed on to the emulator."""

    async def answer(request: Request) -> Response:
        if "/webhooks/" in request.url.path:
            body = {"error": "insufficient_scope", "error_description": "webhooks:read, webhooks:write"}
            return JSONResponse(body, 403)
        target = town.services.settings.polar.url + request.url.path
        kept = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        passed = await polar.request(request.method, target, params=request.query_params.multi_items(), headers=kept,
                                     content=await request.body())
        return Response(passed.content, passed.status_code, {"content-type": passed.headers["content-type"]})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PATCH"])])
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="critical", timeout_graceful_shutdown=1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with httpx.AsyncClient(trust_env=False) as polar:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
            await serving


async def test_a_token_that_may_not_see_webhooks_still_makes_meter_and_products(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLAR_TOKEN", town.services.settings.polar.key)
    async with without_scope(town) as url:
        monkeypatch.setenv("POLAR_URL", url)
        assert await command("apply") == 0
    shown = capsys.readouterr().out
    assert "pay_per_use" in shown
    assert "could not be seen" in shown
