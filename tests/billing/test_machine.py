"""Model-based tests: whatever happens, in whatever order, the invariants of billing hold on both databases.

`HYPOTHESIS_PROFILE=long pytest tests/billing/test_machine.py` searches for many minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.db import Database
from tests.billing.machine import OnePostgres, OpenDatabase, SqliteFiles, run_machine, search
from tests.billing.machine_core import CoreMachine
from tests.billing.machine_polar import PolarMachine

pytestmark = pytest.mark.timeout(4 * 3600)


@pytest.fixture
def open_database(db: Database, tmp_path: Path) -> Iterator[OpenDatabase]:
    """A fresh database of either kind for every example: hypothesis runs many within one test."""
    if not db.is_sqlite:
        yield OnePostgres(db)
        return
    files = SqliteFiles(tmp_path)
    yield files
    files.close()


def test_the_core_keeps_its_books_whatever_happens_in_whatever_order(open_database: OpenDatabase) -> None:
    run_machine(CoreMachine, open_database, search(20, 40))


def test_what_is_charged_is_what_polar_receives_and_invoices_whatever_fails(open_database: OpenDatabase) -> None:
    run_machine(PolarMachine, open_database, search(4, 30))
