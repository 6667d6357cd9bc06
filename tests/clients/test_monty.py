"""The sandbox without a key: what programs may do, and what happens to those that attack it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from chatapp.clients.chart_calls import MAX_CHARTS
from chatapp.clients.code import OUTPUT_LIMIT_BYTES, Chart, CodeResult, Series
from chatapp.clients.monty import Monty


@pytest.fixture
async def runner() -> AsyncIterator[Monty]:
    monty = Monty()
    yield monty
    await monty.close()


async def run(runner: Monty, code: str, timeout_seconds: float = 2.0) -> CodeResult:
    return await runner.run(code, thread_id="t", timeout_seconds=timeout_seconds)


async def test_a_program_prints_its_result_and_costs_nothing(runner: Monty) -> None:
    result = await run(runner, "import math\nprint(f'{math.sqrt(2):.3f}')")
    assert (result.stdout, result.error, result.figures) == ("1.414\n", None, ())
    assert result.cost_usd == Decimal(0) == runner.max_cost_usd(30)
    assert isinstance(result.seconds, Decimal)


async def test_a_chart_comes_back_as_data(runner: Monty) -> None:
    result = await run(
        runner, "chart('line', [2024, 2025], {'low': [1, 2], 'high': [3, 4.5]}, title='T', x_title='year', y_title='$')"
    )
    assert result.error is None
    assert result.figures == (
        Chart("line", "T", (2024.0, 2025.0), (Series("low", (1.0, 2.0)), Series("high", (3.0, 4.5))), "year", "$"),
    )


async def test_dates_and_decimals_can_be_drawn(runner: Monty) -> None:
    code = "from datetime import date\nfrom decimal import Decimal\nchart('bar', [date(2024, 1, 31)], [Decimal('1.5')])"
    result = await run(runner, code)
    assert result.figures == (Chart("bar", "", ("2024-01-31",), (Series("", (1.5,)),)),)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("chart('radar', [1], [1])", "kind must be one of line, bar, scatter, pie, area"),
        ("chart('line', [1, 2], [1])", "y has 1 values but x has 2"),
        ("chart('line', [1], {'a': [1, 2]})", "y['a'] has 2 values but x has 1"),
        ("chart('line', [], [])", "x is empty"),
        ("chart('line', [1], [float('nan')])", "y[0] is nan"),
        ("chart('line', [1], [10**400])", "y[0] is too large"),
        ("chart('line', [1], [True])", "y[0] must be a number, not bool"),
        ("chart('line', [1], ['1'])", "y[0] must be a number, not str"),
        ("chart('line', 'ab', [1, 2])", "x must be a list, not str"),
        ("chart('line', [1], {})", "y has 0 series"),
        ("chart('line', list(range(3000)), list(range(3000)))", "at most 2000"),
        ("chart('pie', ['a', 'b'], [1, -1])", "must not be negative"),
        ("chart('pie', ['a'], {'x': [1], 'y': [1]})", "a pie takes one list"),
        ("chart('line', [1], [1], title='x' * 300)", "title is longer than 200"),
        ("chart('line', [1], [1], title=5)", "title must be a string, not int"),
        (f"for i in range({MAX_CHARTS + 1}): chart('line', [1], [1])", f"at most {MAX_CHARTS} charts"),
    ],
)
async def test_a_wrong_chart_call_tells_the_model_what_is_wrong(runner: Monty, call: str, reason: str) -> None:
    result = await run(runner, call)
    assert result.error is not None
    assert reason in result.error


async def test_a_program_can_catch_a_wrong_chart_call(runner: Monty) -> None:
    result = await run(runner, "try:\n    chart('x', [1], [1])\nexcept ValueError as e:\n    print('caught')")
    assert (result.stdout, result.error) == ("caught\n", None)


async def test_what_was_printed_and_drawn_before_an_error_is_kept(runner: Monty) -> None:
    result = await run(runner, "print('before')\nchart('bar', ['a'], [1])\n1 / 0")
    assert result.stdout == "before\n"
    assert len(result.figures) == 1
    assert result.error is not None
    assert "ZeroDivisionError" in result.error


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("open('/etc/passwd').read()", "PermissionError"),
        ("open('/tmp/x', 'w').write('x')", "PermissionError"),
        ("import os\nos.listdir('/')", "PermissionError"),
        ("import os\nos.system('id')", "AttributeError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("import socket", "ModuleNotFoundError"),
        ("import ctypes", "ModuleNotFoundError"),
        ("chart.__globals__", "AttributeError"),
        ("(1).__class__.__mro__[-1].__subclasses__()", "AttributeError"),
        ("[0] * 10**10", "MemoryError"),
        ("x = []\nwhile True: x.append('a' * 10000)", "MemoryError"),
        ("10 ** 10 ** 9", "MemoryError"),
        ("def f(n): return f(n + 1)\nf(0)", "RecursionError"),
        ("def (", "SyntaxError"),
        ("while True:\n    try: nosuch\n    except NameError: pass", "suspension limit"),
        ("raise SystemExit", "SystemExit"),
    ],
)
async def test_an_attack_ends_as_an_error_that_names_it(runner: Monty, attack: str, reason: str) -> None:
    result = await run(runner, attack)
    assert result.error is not None
    assert reason in result.error
    assert (await run(runner, "print('alive')")).stdout == "alive\n"


async def test_the_environment_of_this_process_cannot_be_read(
    runner: Monty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hunter2")
    assert os.environ["A_SECRET"] == "hunter2"
    result = await run(runner, "import os\nprint(os.environ)\nprint(os.getenv('A_SECRET'))")
    assert "hunter2" not in result.stdout + (result.error or "")


@pytest.mark.parametrize("flood", ["print('a' * 10**6)", "while True: print('a' * 1000)"])
async def test_huge_output_is_cut_with_a_note(runner: Monty, flood: str) -> None:
    result = await run(runner, flood, 0.3)
    assert len(result.stdout.encode()) < OUTPUT_LIMIT_BYTES + 100
    assert result.stdout.endswith(f"(output cut at {OUTPUT_LIMIT_BYTES} bytes)")
    assert result.error is not None
    assert "printed more than" in result.error


@pytest.mark.parametrize("loop", ["while True: pass", "sum(range(10**12))"])
async def test_a_busy_loop_is_stopped_at_its_timeout(runner: Monty, loop: str) -> None:
    result = await run(runner, loop, 0.2)
    assert result.error is not None
    assert "TimeoutError" in result.error
    assert Decimal("0.2") <= result.seconds < Decimal("1.5")


async def test_sleeping_does_not_hold_a_worker(runner: Monty) -> None:
    started = time.monotonic()
    assert (await run(runner, "import time\ntime.sleep(60)\nprint('awake')")).stdout == "awake\n"
    assert time.monotonic() - started < 5


async def test_a_busy_loop_does_not_stall_the_event_loop_or_other_runs(runner: Monty) -> None:
    busy = asyncio.create_task(run(runner, "while True: pass", 0.5))
    worst = 0.0
    for _ in range(20):
        before = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - before)
    assert (await run(runner, "print(1)")).stdout == "1\n"
    assert not busy.done()
    assert worst < 0.3
    assert (await busy).error is not None


async def test_cancelling_a_run_kills_its_program() -> None:
    runner = Monty(processes=1)
    await run(runner, "1")
    task = asyncio.create_task(run(runner, "while True: pass", 60))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await run(runner, "print('next')")).stdout == "next\n"
    await runner.close()


async def test_nothing_is_kept_from_one_run_to_the_next(runner: Monty) -> None:
    await run(runner, "secret = 42")
    result = await run(runner, "print(secret)")
    assert result.error is not None
    assert "NameError" in result.error
