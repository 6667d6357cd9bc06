"""The benchmarks run, and their figures make sense. How large they are is for docs/benchmarks.md, not for a test."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.figures import Figures, percentile, table
from emulators.llm import lorem
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

TOKENS, RATE = 100, 200


@pytest.fixture(scope="module")
def output() -> str:
    command = [sys.executable, "-m", "benchmarks", "--tokens", str(TOKENS), "--rate", str(RATE)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


@pytest.fixture(scope="module")
def figures(output: str) -> dict[str, Figures]:
    found = [Figures(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]
    return {one.subject: one for one in found}


@pytest.mark.parametrize("subject", ["plain", "app"])
def test_every_figure_is_there_and_possible(figures: dict[str, Figures], subject: str) -> None:
    one = figures[subject]
    text = lorem.text(TOKENS, marked=True)
    assert (one.tokens, one.tokens_per_second, one.raw_bytes) == (TOKENS, RATE, len(text.encode()))
    assert one.marks == len(lorem.MARK.findall(text)) > 3
    assert one.wire_bytes > one.raw_bytes
    assert one.wire_ratio == pytest.approx(one.wire_bytes / one.raw_bytes, abs=0.001)
    assert 0 < one.delay_ms_p50 <= one.delay_ms_p95 < 1000 * one.seconds
    assert TOKENS / RATE <= one.seconds < 60
    assert 0 < one.server_cpu_seconds < 2 * one.seconds
    assert 0 < one.page_cpu_seconds < one.seconds + 1


def test_the_table_shows_both_side_by_side(output: str, figures: dict[str, Figures]) -> None:
    assert table([figures["plain"], figures["app"]]) in output


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile([7.0], 0.95)) == (50.0, 95.0, 7.0)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
