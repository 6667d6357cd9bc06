"""The stage for tests of this folder."""

from tests.accounts.stage import sqlite_stage_fixture, stage_fixture

__all__ = ["sqlite_stage_fixture", "stage_fixture"]
