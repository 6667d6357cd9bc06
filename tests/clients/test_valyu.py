"""The client of Valyu: the real SDK against the emulator, and against answers that the emulator does not give."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import httpx
import pytest

from chatapp.clients import valyu as client_module
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.valyu import Valyu, max_contents_cost_usd, max_cost_usd
from emulators import valyu
from emulators.faults import Fault
from tests.clients.answering import answering
from tests.emulators.serving import Served, serving


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path, "valyu", valyu) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Valyu]:
    made = Valyu(base_url=f"{served.url}/v1", key="val_emulated", timeout_seconds=2)
    yield made
    await made.close()


async def search(client: Valyu, query: str = "heat pumps", max_results: int = 5, max_price: int = 30):
    return await client.search(query, max_results=max_results, max_price_usd_per_thousand=max_price)


def log(served: Served) -> list[dict]:
    return httpx.get(f"{served.url}/_emulator/log").json()["requests"]


async def test_a_search_gives_sources_and_its_exact_cost(served: Served, client: Valyu) -> None:
    result = await search(client)
    assert result.exact
    assert result.sources[0].title == "What a heat pump costs and saves"
    assert result.sources[0].url == "https://library.example/energy/heat-pump-costs"
    assert "coefficient of performance" in result.sources[0].text
    assert result.cost_usd == sum(source.price_usd for source in result.sources) == Decimal(log(served)[0]["cost_usd"])
    assert 0 < result.cost_usd <= max_cost_usd(5, 30)


async def test_costs_are_exact_decimals_without_a_float_in_between(client: Valyu) -> None:
    result = await search(client, "coffee", max_results=2)
    assert result.cost_usd == Decimal("0.003")
    assert str(result.cost_usd) == "0.003"


async def test_dear_sources_are_left_out_below_their_price(client: Valyu) -> None:
    cheap, dear = await search(client, "mortgage", max_price=1), await search(client, "mortgage", max_price=8)
    assert "How a mortgage is repaid" in {source.title for source in dear.sources}
    assert "How a mortgage is repaid" not in {source.title for source in cheap.sources}
    assert all(source.price_usd <= Decimal("0.001") for source in cheap.sources)


async def test_nothing_found_is_an_empty_result_that_costs_nothing(client: Valyu) -> None:
    result = await search(client, "zzzzqqq")
    assert (result.sources, result.cost_usd, result.exact) == ((), Decimal(0), True)


async def test_pages_are_read_and_missing_ones_are_free(served: Served, client: Valyu) -> None:
    result = await client.contents(["https://library.example/health/sleep", "https://library.example/none"])
    assert [page.error is None for page in result.pages] == [True, False]
    assert "seven and nine hours" in result.pages[0].text
    assert (result.cost_usd, result.exact) == (Decimal("0.001"), True)
    assert result.cost_usd <= max_contents_cost_usd(2)
    assert log(served)[0]["cost_usd"] == "0.001"


@pytest.mark.parametrize("count", [0, 11])
async def test_a_wrong_number_of_pages_is_a_mistake_of_the_caller(client: Valyu, count: int) -> None:
    with pytest.raises(ValueError, match="1 to 10"):
        await client.contents(["https://library.example/x"] * count)


async def test_a_failure_that_was_charged_is_rejected_with_its_cost(served: Served, client: Valyu) -> None:
    with pytest.raises(Rejected) as caught:
        await search(client, "coffee emulate charged failure", max_results=2)
    assert caught.value.status == 500
    assert caught.value.cost_usd == Decimal("0.003") == Decimal(log(served)[0]["cost_usd"])


async def test_missing_credit_is_rejected_and_costs_nothing(client: Valyu) -> None:
    with pytest.raises(Rejected) as caught:
        await search(client, "emulate no credit")
    assert (caught.value.status, caught.value.cost_usd) == (402, Decimal(0))
    assert "Insufficient credits" in str(caught.value)


async def test_a_wrong_key_is_rejected(served: Served) -> None:
    other = Valyu(base_url=f"{served.url}/v1", key="no", timeout_seconds=2)
    with pytest.raises(Rejected) as caught:
        await search(other)
    await other.close()
    assert caught.value.status == 401


async def test_too_many_requests_is_unavailable_at_once_and_says_when_to_come_back(
    served: Served, client: Valyu
) -> None:
    served.world.faults.switch_on("valyu", Fault.TOO_MANY_REQUESTS, times=1)
    with pytest.raises(Unavailable) as caught:
        await search(client)
    assert (caught.value.retry_after_seconds, caught.value.may_have_run) == (1, False)
    assert (await search(client)).sources


@pytest.mark.parametrize(
    ("fault", "charged"), [(Fault.DOWN, 0), (Fault.SERVER_ERROR, 0), (Fault.LOST_ANSWER, 1)]
)
async def test_no_readable_answer_is_unavailable_and_may_have_run(
    served: Served, client: Valyu, fault: Fault, charged: int
) -> None:
    served.world.faults.switch_on("valyu", fault)
    with pytest.raises(Unavailable) as caught:
        await search(client)
    assert caught.value.may_have_run
    assert len(log_without_fault(served)) == charged


def log_without_fault(served: Served) -> list[dict]:
    served.world.faults.switch_off("valyu")
    return log(served)


async def test_a_slow_answer_is_unavailable_and_may_have_run(served: Served) -> None:
    served.world.faults.switch_on("valyu", Fault.SLOW, seconds=1)
    hasty = Valyu(base_url=f"{served.url}/v1", key="val_emulated", timeout_seconds=0.1)
    with pytest.raises(Unavailable) as caught:
        await search(hasty)
    await hasty.close()
    assert caught.value.may_have_run


async def test_no_connection_is_unavailable_and_certainly_did_not_run() -> None:
    nowhere = Valyu(base_url="http://127.0.0.1:1/v1", key="k", timeout_seconds=1)
    with pytest.raises(Unavailable) as caught:
        await search(nowhere)
    await nowhere.close()
    assert not caught.value.may_have_run


async def test_concurrent_searches_do_not_mix_their_answers(client: Valyu) -> None:
    queries = ["sleep", "coffee", "inflation", "Roman roads", "primes", "exoplanets"] * 3
    results = await asyncio.gather(*(search(client, query, 1) for query in queries))
    first = {query: result.sources[0].title for query, result in zip(queries, results, strict=True)}
    assert len(set(first.values())) == 6
    assert all(result.sources[0].title == first[query] for query, result in zip(queries, results, strict=True))


FOUND = '{"title": "T", "url": "javascript:alert(1)", "content": [{"a": 1}], "source": "s", "price": 0.03, "length": 1}'


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, f'{{"success": true, "results": [{FOUND}], "total_deduction_dollars": 0.03}}', Decimal("0.03")),
        (200, f'{{"success": true, "results": [{FOUND}]}}', None),
        (206, '{"success": true, "results": [], "total_deduction_dollars": 0}', Decimal(0)),
    ],
)
async def test_a_cost_is_read_from_the_raw_text_or_assumed_as_the_cap(
    status: int, body: str, expected: Decimal | None
) -> None:
    with answering(status, body) as url:
        client = Valyu(base_url=url, key="k", timeout_seconds=1)
        result = await search(client, max_results=5, max_price=30)
        await client.close()
    assert result.exact == (expected is not None)
    assert result.cost_usd == (Decimal("0.15") if expected is None else expected)
    assert all(source.url == "" and source.text == '[{"a": 1}]' for source in result.sources)


@pytest.mark.parametrize(
    ("status", "body", "error", "cost"),
    [
        (200, '{"success": false, "error": "x", "total_deduction_dollars": 0.0045}', Rejected, "0.0045"),
        (200, '{"success": false, "error": "x"}', Rejected, "0"),
        (400, '{"error": "x", "total_deduction_dollars": 0.1}', Rejected, "0.1"),
        (503, '{"error": "x", "total_deduction_dollars": 0.000001}', Rejected, "0.000001"),
        (200, "not json", Unavailable, None),
        (502, "<html>", Unavailable, None),
        (200, "[1]", Unavailable, None),
    ],
)
async def test_failures_are_told_apart_and_never_lose_a_charge(
    status: int, body: str, error: type[Exception], cost: str | None
) -> None:
    with answering(status, body) as url:
        client = Valyu(base_url=url, key="k", timeout_seconds=1)
        with pytest.raises(error) as caught:
            await search(client)
        await client.close()
    if isinstance(caught.value, Rejected):
        assert caught.value.cost_usd == Decimal(cost)
    else:
        assert caught.value.may_have_run


def test_the_caps_are_exact() -> None:
    assert max_cost_usd(7, 3) == Decimal("0.021")
    assert max_contents_cost_usd(3) == client_module.PAGE_PRICE_USD * 3
