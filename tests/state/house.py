"""A running house with two tenants: the owner, who has everything that one can have, and the stranger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlmodel import SQLModel, col, select

from chatapp.accounts import sessions
from chatapp.db import Database, now
from chatapp.models import Account, Chunk, Figure, Message, Profile, QuotaCount, ServerSession, Thread, Turn
from chatapp.settings import Settings, load
from tests.conftest import ROOT, free_port, wait_until_healthy


@dataclass
class Tenant:
    """An account with a session. `secret` is in everything that this person ever wrote or was told."""

    account_id: str
    profile_id: str
    secret: str
    cookie: str
    revoked: str
    ids: dict[str, str] = field(default_factory=dict)


class House:
    """The app's process, its database, and what it has logged."""

    def __init__(self, folder: Path, emulators_url: str, **environment: str) -> None:
        self.folder = folder
        self.url = f"http://localhost:{free_port()}"
        variables = {"DATABASE_URL": f"sqlite:///{folder / 'app.db'}", "PUBLIC_URL": self.url, "API_URL": "",
                     "EMULATORS_URL": emulators_url, "LIMITS": "off", "APP_MODE": "development",
                     "REFLEX_STATES_WORKDIR": str(folder / "states"), "REFLEX_WEB_WORKDIR": str(folder / "web"),
                     "REFLEX_REDIS_URL": "", **environment}
        self._environment = {**os.environ, **variables, "REFLEX_USE_NPM": "1", "REFLEX_TELEMETRY_ENABLED": "false",
                             "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        self.settings: Settings = load(variables)
        self.db = Database(self.settings.database_url)
        self.process: subprocess.Popen[bytes] | None = None
        self.inventory: dict[str, Any] = {}

    @property
    def log(self) -> str:
        return (self.folder / "app.log").read_text()

    @property
    def memory_mb(self) -> int:
        """Resident memory of the process."""
        assert self.process is not None
        line = next(line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
                    if line.startswith("VmRSS"))
        return int(line.split()[1]) // 1024

    def open(self) -> None:
        with (self.folder / "app.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.state.served", self.url.rsplit(":", 1)[1],
                 str(self.folder / "inventory.json")],
                cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(f"{self.url}/api/health", self.process, 180)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(f"The app did not start:\n{self.log[-4000:]}") from error
        self.inventory = json.loads((self.folder / "inventory.json").read_text())

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.db.close()

    def tenant(self) -> Tenant:
        """A person with an account, a live session and one that was revoked, and nothing else."""
        secret = f"secret{uuid.uuid4().hex}"
        with self.db.session() as session:
            account = Account(kind="person")
            session.add(account)
            session.flush()
            profile = Profile(id=str(uuid.uuid4()), account_id=account.id, email=f"{secret}@example.org",
                              name=f"Name {secret}")
            session.add(profile)
            session.flush()
            tokens = [sessions.open_session(session, self.settings, account.id, now(), profile_id=profile.id,
                                            user_agent=f"Agent {secret}") for _ in range(2)]
            token_hash = sessions.hash_in(f"session={tokens[1]}", self.settings)
            assert token_hash
            sessions.revoke(session, self.settings, token_hash, now())
        return Tenant(account.id, profile.id, secret, f"session={tokens[0]}", f"session={tokens[1]}")

    def furnish(self, tenant: Tenant) -> None:
        """Give the tenant a finished chat with a figure, and one whose answer is being written by another process."""
        text = tenant.secret
        with self.db.session() as session:
            done, running = (Thread(account_id=tenant.account_id, title=f"Title {kind} {text}")
                             for kind in ("done", "running"))
            session.add_all([done, running])
            session.flush()
            common: dict[str, Any] = {"account_id": tenant.account_id}
            question = Message(thread_id=done.id, role="user", text=f"Question {text}", **common)
            answer = Message(
                thread_id=done.id, role="assistant", text=f"Answer {text}", plan="free", history="",
                parts=[{"type": "text", "text": f"Answer {text}"}],
                sources=[{"number": 1, "title": f"Source {text}", "url": f"https://a.example/{text}"}], **common)
            asked = Message(thread_id=running.id, role="user", text=f"Question {text}", **common)
            writing = Message(thread_id=running.id, role="assistant", status="streaming", plan="free", **common)
            figure = Figure(message_id=answer.id, mime="image/png", data=f"png {text}".encode(), **common)
            turn = Turn(id=writing.id, thread_id=running.id, runner="elsewhere:1",
                        lease_until=now() + timedelta(hours=1), **common)
            chunk = Chunk(message_id=writing.id, number=1, data=json.dumps([f"Chunk {text}"]))
            session.add_all([question, answer, asked, writing, figure, turn, chunk])
        tenant.ids = {"thread": done.id, "running_thread": running.id, "question": question.id, "answer": answer.id,
                      "running": writing.id, "figure": figure.id, "account": tenant.account_id,
                      "profile": tenant.profile_id}

    def belongings(self, tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table that names the tenant's account, for comparison."""
        found: dict[str, list[dict[str, Any]]] = {}
        with self.db.reading() as session:
            for table in _owned_tables():
                key = Account.id if table is Account else table.account_id
                rows = session.exec(select(table).where(col(key) == tenant.account_id)).all()
                found[table.__name__] = sorted((row.model_dump(mode="json") for row in rows), key=str)
            chunks = session.exec(select(Chunk).where(Chunk.message_id == tenant.ids.get("running", ""))).all()
            found["Chunk"] = [chunk.model_dump() for chunk in chunks]
        return found


def _owned_tables() -> list[Any]:
    """All tables with an owner, found by introspection."""
    tables = [table for table in SQLModel.__subclasses__() if "account_id" in table.model_fields]
    assert {Thread, Message, Figure, Turn, QuotaCount, ServerSession, Profile} <= set(tables)
    return [Account, *tables]


@contextmanager
def opened(folder: Path, emulators_url: str, **environment: str) -> Iterator[House]:
    """The house, open until the end of the block."""
    house = House(folder, emulators_url, **environment)
    try:
        house.open()
        yield house
    finally:
        house.close()
