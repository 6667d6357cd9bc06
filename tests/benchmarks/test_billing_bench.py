"""The billing core's benchmarks run on both databases, and what they must find in any run they find: nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.billing import plans
from benchmarks.billing.results import Result, table
from benchmarks.billing.rows import Copier, add_accounts
from chatapp.db import Database, now
from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(660)
"""Half a minute where nothing else runs; a machine that is busy may need ten times that."""

TINY = ["--rows", "20", "40", "--samples", "10", "--writers", "4", "--seconds", "0.2", "--events", "40",
        "--waiting", "60", "--tracked", "30", "--rate", "100", "--kills", "1", "--lost", "2"]


@pytest.fixture(scope="module")
def output() -> str:
    command = [sys.executable, "-m", "benchmarks", "billing", *TINY]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


@pytest.fixture(scope="module")
def found(output: str) -> list[Result]:
    return [Result(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]


def values_of(found: list[Result], database: str, beginning: str) -> list[dict[str, Any]]:
    return [dict(one.values) for one in found if one.database == database and one.subject.startswith(beginning)]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_part_is_measured_on_both_databases(found: list[Result], database: str) -> None:
    counts = {"admit": 6, "hold, the big account": 2, "first check": 4, "hold and settle": 4, "deliver": 5, "claim": 1,
              "memory": 1, "30 events": 2}
    assert {name: len(values_of(found, database, name)) for name in counts} == counts


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_times_and_rates_are_possible(found: list[Result], database: str) -> None:
    for values in values_of(found, database, ""):
        if "p50_ms" in values:
            assert 0 < values["p50_ms"] <= values["p99_ms"] <= values["max_ms"]
        assert all(value > 0 for name, value in values.items() if name.endswith("per_second"))
    [memory] = values_of(found, database, "memory")
    assert all(10 < memory[name] < 2000 for name in ("rss_before_mb", "rss_waiting_mb", "rss_delivering_max_mb"))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_is_lost_or_doubled_by_a_kill_or_a_lost_answer(found: list[Result], database: str) -> None:
    for values in values_of(found, database, "30 events"):
        assert values["told"] == 30
        assert (values["lost"], values["doubled"], values["billed_minus_ledger_microusd"]) == (0, 0, 0)


def test_the_table_shows_the_databases_side_by_side(output: str, found: list[Result]) -> None:
    assert table(found) in output


def test_a_statement_that_reads_the_whole_ledger_is_found(db: Database) -> None:
    at = now()
    add_accounts(db, ["account-big", "account-0"], pay_per_use=True, at=at)
    Copier(db).ledger(0, 5, owners=1, since=at, until=at)
    with plans.recorded(db) as statements, db.reading() as session:
        session.connection().exec_driver_sql("SELECT count(*) FROM usage_event WHERE cost_usd = '1'").all()
    assert plans.whole_tables_read(db, statements)


def test_copies_of_a_ledger_row_are_its_copies_but_for_owner_turn_and_time(sqlite_db: Database) -> None:
    at = now()
    add_accounts(sqlite_db, ["account-big", "account-0"], pay_per_use=True, at=at)
    Copier(sqlite_db).ledger(0, 10, owners=1, since=at, until=at)
    with sqlite_db.reading() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT account_id, count(*), count(DISTINCT charge_nanousd), count(DISTINCT id) FROM usage_event "
            "WHERE id LIKE 'event-%' GROUP BY account_id ORDER BY account_id").all()
    assert [tuple(row) for row in rows] == [("account-0", 4, 1, 4), ("account-big", 6, 1, 6)]
