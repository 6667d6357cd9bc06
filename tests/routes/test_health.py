"""For a load balancer: 200 while the database answers."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
from starlette.applications import Starlette

from chatapp.db import Database
from chatapp.routes import health
from chatapp.services import build
from chatapp.settings import load


async def ask(database_url: str) -> httpx.Response:
    services = build(load({"DATABASE_URL": database_url}))
    app = Starlette(routes=health.routes(services))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.get("/api/health")
    finally:
        await services.close()


async def test_it_is_well_while_the_database_answers(db: Database) -> None:
    answer = await ask(db.engine.url.render_as_string(hide_password=False))
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_it_says_so_when_the_database_is_away_and_tells_no_address(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    away = await ask(f"sqlite:///{tmp_path}/folder.db")
    assert away.status_code == 503
    assert away.json()["status"] == "database unavailable"
    assert str(tmp_path) not in away.text
    nobody = await ask("postgresql://u:secret@127.0.0.1:1/none")
    assert nobody.status_code == 503
    assert "secret" not in nobody.text
    assert os.sep not in nobody.text
