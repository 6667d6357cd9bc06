"""The emulated search: what it finds, what it refuses, and its shapes as the SDK's own types read them."""

from collections.abc import Iterator

import httpx
import pytest
from valyu import Valyu
from valyu.types.response import SearchResponse

from emulators import valyu
from emulators.valyu.library import load
from tests.emulators.serving import Served, serving

TOPICS = [
    ("Why has solar energy become cheap?", "energy/solar-costs"),
    ("What is inflation?", "economy/inflation"),
    ("How do mRNA vaccines work?", "health/mrna-vaccines"),
    ("What is a transformer in AI?", "computing/transformers"),
    ("batteries of an EV", "mobility/ev-batteries"),
    ("How does a heat pump work?", "energy/heat-pump"),
    ("Why do we sleep?", "health/sleep"),
    ("Is coffee healthy?", "health/coffee"),
    ("How are exoplanets found?", "space/exoplanets"),
    ("How did the Romans build roads?", "history/roman-roads"),
    ("SQL database transactions", "computing/sql-transactions"),
    ("How do interest rates act?", "economy/interest-rates"),
]


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path, "valyu", valyu) as running:
        yield running


@pytest.fixture
def sdk(served: Served) -> Valyu:
    return Valyu(api_key="val_emulated", base_url=f"{served.url}/v1")


@pytest.mark.parametrize(("query", "path"), TOPICS)
def test_a_demonstration_s_questions_find_their_document_among_the_first_two(
    sdk: Valyu, query: str, path: str
) -> None:
    found = sdk.search(query, max_num_results=2)
    assert found.success
    assert any(result.url.startswith(f"https://library.example/{path}") for result in found.results)


def test_an_answer_has_every_field_of_the_sdk_s_types(served: Served) -> None:
    answer = httpx.post(
        f"{served.url}/v1/search", json={"query": "coffee"}, headers={"x-api-key": "val_emulated"}
    ).json()
    parsed = SearchResponse.model_validate(answer)
    assert parsed.total_characters == sum(result.length for result in parsed.results)
    assert parsed.results_by_source.web + parsed.results_by_source.proprietary == len(parsed.results)
    assert parsed.results == sorted(parsed.results, key=lambda result: -(result.relevance_score or 0))


def test_a_search_type_limits_the_kinds_of_sources(sdk: Valyu) -> None:
    assert {result.source for result in sdk.search("energy", search_type="web").results} == {"web"}
    assert "web" not in {result.source for result in sdk.search("energy", search_type="proprietary").results}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": "x", "max_num_results": 21}, "max_num_results"),
        ({"query": "x", "max_price": "a"}, "max_price"),
        ({"query": "x", "search_type": "all of it"}, "search_type"),
        ([], "JSON object"),
    ],
)
def test_a_malformed_search_is_refused(served: Served, body: object, problem: str) -> None:
    answer = httpx.post(f"{served.url}/v1/search", json=body, headers={"x-api-key": "val_emulated"})
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


def test_contents_above_the_ceiling_are_refused_and_not_charged(served: Served, sdk: Valyu) -> None:
    urls = ["https://library.example/health/sleep", "https://library.example/health/coffee"]
    refused = sdk.contents(urls, max_price_dollars=0.001)
    assert not refused.success
    assert httpx.get(f"{served.url}/_emulator/log").json()["requests"] == []


def test_the_library_is_well_formed() -> None:
    documents = load()
    assert len(documents) >= 40
    assert len({doc.url for doc in documents}) == len({doc.title for doc in documents}) == len(documents)
    for doc in documents:
        assert doc.price_usd > 0
        assert doc.text.count(". ") >= 2, doc.title
