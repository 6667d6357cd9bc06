"""What the model-based tests of billing share: a database per example, its books as values, and how long to search.

`HYPOTHESIS_PROFILE=long` searches for many minutes instead of seconds; `MACHINE_EXAMPLES=5000` sets a number.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import text
from sqlmodel import SQLModel

from chatapp.billing.ledger import CHANNEL
from chatapp.db import Database

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
LONGER = 40
"""So many times more examples are tried in a long run."""

OpenDatabase = Callable[[], Database]
"""Gives an empty, migrated database; what an earlier call gave is closed, and lost."""


def search(examples: int, steps: int) -> settings:
    """How a machine is run: the same way each time, so that a change is judged by itself; at random in a long run."""
    number = int(os.environ.get("MACHINE_EXAMPLES") or (examples * LONGER if LONG else examples))
    return settings(
        max_examples=number, stateful_step_count=steps * 2 if LONG else steps, deadline=None, print_blob=True,
        derandomize=not LONG, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )


def run_machine(machine: Callable[[OpenDatabase], RuleBasedStateMachine], open_database: OpenDatabase,
                how: settings) -> None:
    """Run a machine on fresh databases of one kind; a failure is shrunk, and printed with its way to repeat it."""
    factory = cast(type[RuleBasedStateMachine], partial(machine, open_database))  # documented to be any callable
    run_state_machine_as_test(factory, settings=how)


class SqliteFiles:
    """Copies of one migrated file: a millisecond each, where a migration takes hundreds."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._open: list[tuple[Database, Path]] = []
        self._template = folder / "template.db"
        migrated = Database(f"sqlite:///{self._template}")
        migrated.migrate()
        with migrated.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
        migrated.close()

    def __call__(self) -> Database:
        self.close()
        self._count += 1
        path = self._folder / f"{self._count}.db"
        shutil.copy(self._template, path)
        self._open.append((Database(f"sqlite:///{path}"), path))
        return self._open[0][0]

    def close(self) -> None:
        while self._open:
            database, path = self._open.pop()
            database.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)


class OnePostgres:
    """One database, emptied for each example."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self) -> Database:
        with self._database.engine.begin() as connection:
            tables = [row[0] for row in connection.execute(text(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'alembic_version'"))]
            connection.execute(text(f"TRUNCATE {', '.join(tables)} CASCADE"))
        return self._database


@dataclass(frozen=True)
class Row:
    """A ledger row, whole: `everything` is what must never change."""

    id: str
    account_id: str
    turn_id: str
    billable: bool
    cost_nanousd: int
    charge_nanousd: int
    exact: bool
    customers: bool
    corrects: str | None
    occurred_at: datetime
    everything: str


class Books:
    """The tables of billing, read after every step of a machine, and what must hold between them at any moment."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.rows: dict[str, Row] = {}
        self.holds: dict[str, Any] = {}
        self.balances: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}
        """By id, account and event: rows with the columns of `Hold`, `Balance` and `OutboxMessage`."""

    def read(self) -> Books:
        """Read all of them in one transaction; a row that is gone or not as it was before fails at once (3)."""
        with self.db.reading() as session:  # columns, not objects: it is done after every step
            found = {name: session.connection().execute(SQLModel.metadata.tables[name].select()).all()
                     for name in ("usage_event", "hold", "balance", "outbox_message")}
        rows = {row.id: _row(row) for row in found["usage_event"]}
        self.holds = {hold.id: hold for hold in found["hold"]}
        self.balances = {balance.account_id: balance for balance in found["balance"]}
        messages = [message for message in found["outbox_message"] if message.channel == CHANNEL]
        for identifier, before in self.rows.items():
            assert rows.get(identifier) == before, f"ledger row {identifier} changed: {before} → {rows.get(identifier)}"
        self.rows = rows
        self.messages = {message.key: message for message in messages}
        assert len(self.messages) == len(messages), "two messages of one event"
        return self

    def check(self) -> None:
        """Each row has its one message with the same charge (1); the totals are those of the rows and holds (2)."""
        assert self.messages.keys() == self.rows.keys(), "an event without its message, or a message without its event"
        for key, message in self.messages.items():
            row = self.rows[key]
            numbers, named = message.payload["numbers"], message.payload["name"]
            assert Decimal(numbers["charge_microusd"]) * 1000 == row.charge_nanousd
            assert (named == "usage") == row.billable
            assert message.account_id == message.payload["external_customer_id"] == row.account_id
        assert not self.rows.keys() & self.holds.keys(), "a step that is settled is still held"
        assert {row.account_id for row in self.rows.values() if row.customers} <= self.balances.keys()
        for account_id, balance in self.balances.items():
            self._check_totals(account_id, balance)

    def _check_totals(self, account_id: str, balance: Any) -> None:
        counted = [row for row in self.rows.values()
                   if row.account_id == account_id and row.customers and row.occurred_at >= balance.period_start]
        held = [hold for hold in self.holds.values() if hold.account_id == account_id and hold.bearer == "customer"]
        assert balance.charged_nanousd == sum(row.charge_nanousd for row in counted)
        assert balance.cost_nanousd == sum(row.cost_nanousd for row in counted)
        assert balance.held_nanousd == sum(hold.amount_nanousd for hold in held)
        assert balance.held_cost_nanousd == sum(hold.cost_bound_nanousd for hold in held)

    def charged(self, account_id: str) -> int:
        """All that an account has ever been charged, in nano-dollars."""
        return sum(row.charge_nanousd for row in self.rows.values() if row.account_id == account_id)


def _row(row: Any) -> Row:
    return Row(
        id=row.id, account_id=row.account_id, turn_id=row.turn_id, billable=row.billable,
        cost_nanousd=row.cost_nanousd, charge_nanousd=row.charge_nanousd, exact=row.exact,
        customers=row.bearer == "customer", corrects=row.corrects, occurred_at=row.occurred_at,
        everything=repr(tuple(row)),
    )
