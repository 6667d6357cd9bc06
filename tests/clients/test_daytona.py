"""The client of Daytona: the real SDK against the emulator, with its faults."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from chatapp.billing.pricing import cost_usd
from chatapp.billing.rates import DAYTONA, START_UP_SECONDS
from chatapp.clients.code import OUTPUT_LIMIT_BYTES, CodeResult, Picture
from chatapp.clients.daytona import Daytona
from chatapp.clients.errors import Rejected, Unavailable
from emulators import daytona
from emulators.faults import Fault
from tests.emulators.serving import Served, serving

RATE = Decimal("0.0504") / 3600 + Decimal("0.0162") / 3600 + 3 * Decimal("0.000108") / 3600


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path, "daytona", daytona) as running:
        yield running


@pytest.fixture
async def runner(served: Served) -> AsyncIterator[Daytona]:
    made = client(served)
    yield made
    await made.close()


def client(served: Served, key: str = "dtn_emulated", timeout_seconds: float = 5) -> Daytona:
    return Daytona(api_url=f"{served.url}/api", key=key, timeout_seconds=timeout_seconds, target="us")


async def run(runner: Daytona, code: str = "print(1)", thread_id: str = "t1", timeout_seconds: float = 5) -> CodeResult:
    return await runner.run(code, thread_id=thread_id, timeout_seconds=timeout_seconds)


def boxes(served: Served) -> list[dict]:
    return httpx.get(f"{served.url}/_emulator/log").json()["sandboxes"]


async def test_a_program_runs_and_costs_its_seconds_at_the_list_price(runner: Daytona) -> None:
    result = await run(runner, "print(6 * 7)")
    assert (result.stdout, result.error) == ("42\n", None)
    assert result.cost_usd == result.seconds * RATE == cost_usd(DAYTONA, result.quantities)
    milliseconds = int(result.seconds * 1000)
    assert result.quantities == {"cpu_milliseconds": milliseconds, "memory_gib_milliseconds": milliseconds,
                                 "disk_gib_milliseconds": 3 * milliseconds}
    assert 0 < result.cost_usd <= runner.max_cost_usd(5)


async def test_the_sandbox_is_closed_off_and_ends_by_itself(served: Served, runner: Daytona) -> None:
    await run(runner)
    [box] = boxes(served)
    assert box["body"]["networkBlockAll"] is True
    assert (box["body"]["autoStopInterval"], box["body"]["autoDeleteInterval"]) == (1, 0)
    assert box["body"]["labels"] == {"app": "chatapp", "thread": "t1", "code-toolbox-language": "python"}
    assert "autoDestroyAt" in box["body"]


async def test_a_thread_keeps_its_sandbox_and_another_thread_gets_its_own(served: Served, runner: Daytona) -> None:
    await asyncio.gather(run(runner), run(runner), run(runner, thread_id="t2"))
    assert sorted((box["body"]["labels"]["thread"], box["runs"]) for box in boxes(served)) == [("t1", 2), ("t2", 1)]


async def test_another_process_finds_the_sandbox_by_its_label(served: Served, runner: Daytona) -> None:
    await run(runner)
    other = client(served)
    await run(other)
    await other.close()
    assert [box["runs"] for box in boxes(served)] == [2]


async def test_only_the_first_run_pays_for_the_start(served: Served, runner: Daytona) -> None:
    served.world.faults.switch_on("daytona", Fault.SLOW, path="/api/sandbox", times=2, seconds=0.2)
    first, second = await run(runner), await run(runner)
    assert Decimal("0.4") <= first.seconds < START_UP_SECONDS
    assert second.seconds < Decimal("0.35")


async def test_a_sandbox_that_vanished_is_replaced_without_a_word(served: Served, runner: Daytona) -> None:
    await run(runner)
    served.world.clock.advance(timedelta(minutes=2))
    assert (await run(runner)).stdout == "1\n"
    assert [box["state"] for box in boxes(served)] == ["destroyed", "started"]


async def test_a_figure_comes_back_as_a_picture_with_its_title(runner: Daytona) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4], label='a')\nplt.title('T')\nplt.show()"
    result = await run(runner, code)
    [picture] = result.figures
    assert isinstance(picture, Picture)
    assert (picture.mime, picture.title) == ("image/png", "T")
    assert picture.data.startswith(b"\x89PNG\r\n\x1a\n")


async def test_a_failing_program_is_a_result_with_its_traceback(runner: Daytona) -> None:
    result = await run(runner, "print('before')\n1 / 0")
    assert result.stdout == ""
    assert result.error is not None
    assert "before" in result.error
    assert "ZeroDivisionError" in result.error
    assert result.cost_usd > 0


async def test_a_program_that_takes_too_long_is_stopped_and_billed(runner: Daytona) -> None:
    result = await run(runner, "while True: pass", timeout_seconds=1)
    assert result.error == "The program was stopped after 1 seconds."
    assert Decimal(1) <= result.seconds < 5
    assert RATE * Decimal("0.99") <= result.cost_usd <= runner.max_cost_usd(1)


async def test_huge_output_is_cut(runner: Daytona) -> None:
    result = await run(runner, "print('a' * 100000)")
    assert len(result.stdout) < OUTPUT_LIMIT_BYTES + 100
    assert "output cut" in result.stdout


@pytest.mark.parametrize(("path", "may_have_run"), [("/api/sandbox", False), ("/code-run", True)])
@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.SERVER_ERROR, Fault.LOST_ANSWER])
async def test_no_answer_is_unavailable_and_says_whether_the_program_may_have_run(
    served: Served, runner: Daytona, fault: Fault, path: str, may_have_run: bool
) -> None:
    served.world.faults.switch_on("daytona", fault, path=path)
    with pytest.raises(Unavailable) as caught:
        await run(runner)
    assert caught.value.may_have_run == may_have_run
    served.world.faults.switch_off("daytona")
    assert (await run(runner)).stdout == "1\n"


@pytest.mark.parametrize("path", ["/api/sandbox", "/code-run"])
async def test_too_many_requests_is_unavailable_and_says_when_to_come_back(
    served: Served, runner: Daytona, path: str
) -> None:
    served.world.faults.switch_on("daytona", Fault.TOO_MANY_REQUESTS, path=path, times=1)
    with pytest.raises(Unavailable) as caught:
        await run(runner)
    assert (caught.value.retry_after_seconds, caught.value.may_have_run) == (1, False)


async def test_a_creation_whose_answer_was_lost_is_found_and_used_by_the_next_run(
    served: Served, runner: Daytona
) -> None:
    labels = {"app": "chatapp", "thread": "t1", "code-toolbox-language": "python"}
    async with httpx.AsyncClient(headers={"authorization": "Bearer dtn_emulated"}) as direct:
        for _ in range(2):  # what lost answers leave behind
            assert (await direct.post(f"{served.url}/api/sandbox", json={"labels": labels})).status_code == 200
    await run(runner)
    await run(runner)
    assert [box["runs"] for box in boxes(served)] == [2, 0]


async def test_a_slow_start_is_unavailable(served: Served) -> None:
    hasty = client(served, timeout_seconds=1)
    served.world.faults.switch_on("daytona", Fault.SLOW, path="/api/sandbox", seconds=2)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await run(hasty)
    assert time.monotonic() - started < 1.9
    await hasty.close()


async def test_no_connection_is_unavailable_and_certainly_did_not_run() -> None:
    nowhere = Daytona(api_url="http://127.0.0.1:1/api", key="k", timeout_seconds=2, target="us")
    with pytest.raises(Unavailable) as caught:
        await run(nowhere)
    await nowhere.close()
    assert not caught.value.may_have_run


async def test_a_wrong_key_is_rejected(served: Served) -> None:
    other = client(served, key="no")
    with pytest.raises(Rejected) as caught:
        await run(other)
    await other.close()
    assert caught.value.status == 401


async def test_a_thread_s_sandbox_can_be_deleted_at_once(served: Served, runner: Daytona) -> None:
    await run(runner)
    await runner.forget("t1")
    await runner.forget("never seen")
    assert [box["state"] for box in boxes(served)] == ["destroyed"]


def test_the_cap_holds_the_start_the_program_and_the_answer(served: Served) -> None:
    assert client(served).max_cost_usd(30) == 46 * RATE
