"""Disjoint buckets: each token is counted, and paid for, once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from genai_prices.data_units import unit_data
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing import buckets
from chatapp.billing.buckets import INPUT_BUCKETS, OUTPUT_BUCKETS, disjoint, doubtful
from chatapp.billing.pricing import UnitPrices, cost_usd

EVERYTHING = (*INPUT_BUCKETS, *OUTPUT_BUCKETS)
count = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> dict[str, int]:
    """A measurement as vendors give it: each count with what it contains."""
    text, read, write, hour, audio, cached_audio, answer, thought, spoken = (draw(count) for _ in range(9))
    return {
        "input_tokens": text + read + write + hour + audio + cached_audio, "cache_read_tokens": read + cached_audio,
        "cache_write_tokens": write + hour, "cache_write_1h_tokens": hour, "input_audio_tokens": audio + cached_audio,
        "cache_audio_read_tokens": cached_audio, "output_tokens": answer + thought + spoken,
        "output_reasoning_tokens": thought, "output_audio_tokens": spoken,
    }


priced = st.sets(st.sampled_from(("cache_write_1h_tokens", "output_reasoning_tokens", "output_audio_tokens"))).map(
    lambda more: {"input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", *more}
) | st.just(set(EVERYTHING))


def price_list(units: set[str], *, usd: Decimal) -> UnitPrices:
    return UnitPrices("p", "m", "test", dict.fromkeys(units, usd))


@given(usages(), priced)
def test_the_buckets_of_a_measurement_add_up_to_it(usage: dict[str, int], units: set[str]) -> None:
    found = disjoint(usage, units)
    assert found.keys() <= units
    assert sum(found.get(bucket, 0) for bucket in INPUT_BUCKETS) == usage["input_tokens"]
    assert sum(found.get(bucket, 0) for bucket in OUTPUT_BUCKETS) == usage["output_tokens"]


@given(usages(), priced, priced)
def test_the_cost_is_the_same_however_tokens_of_one_price_are_put_into_buckets(
    usage: dict[str, int], some: set[str], others: set[str]
) -> None:
    usd = Decimal("0.0000017")
    total = usd * (usage["input_tokens"] + usage["output_tokens"])
    assert cost_usd(price_list(some, usd=usd), disjoint(usage, some)) == total
    assert cost_usd(price_list(others, usd=usd), disjoint(usage, others)) == total


@given(st.dictionaries(st.sampled_from(EVERYTHING), count), priced)
def test_no_measurement_makes_a_negative_count_or_loses_a_token_that_was_named(
    usage: dict[str, int], units: set[str]
) -> None:
    found = disjoint(usage, units)
    assert all(tokens >= 0 for tokens in found.values())
    assert sum(found.get(bucket, 0) for bucket in INPUT_BUCKETS) >= usage.get("input_tokens", 0)
    assert sum(found.get(bucket, 0) for bucket in OUTPUT_BUCKETS) >= usage.get("output_tokens", 0)
    assert all(found.get(bucket, 0) for bucket in ("cache_write_1h_tokens", "output_audio_tokens")
               if bucket in units and usage.get(bucket))


def test_cached_audio_is_neither_audio_nor_cached_text_again() -> None:
    usage = {"input_tokens": 100, "cache_read_tokens": 40, "input_audio_tokens": 30, "cache_audio_read_tokens": 10,
             "output_tokens": 7}
    assert disjoint(usage, EVERYTHING) == {
        "input_tokens": 40, "cache_read_tokens": 30, "input_audio_tokens": 20, "cache_audio_read_tokens": 10,
        "output_tokens": 7,
    }


def test_thinking_is_output_where_it_has_no_price_of_its_own() -> None:
    usage = {"input_tokens": 10, "output_tokens": 9, "output_reasoning_tokens": 5}
    assert disjoint(usage, {"input_tokens", "output_tokens"}) == {"input_tokens": 10, "output_tokens": 9}
    assert disjoint(usage, EVERYTHING) == {"input_tokens": 10, "output_tokens": 4, "output_reasoning_tokens": 5}


@pytest.mark.parametrize(("unit", "suspected"), [
    ("input_audio_tokens", True), ("output_image_tokens", True), ("web_searches", True), ("audio_seconds", True),
    ("output_audio_reasoning_tokens", True), ("output_reasoning_tokens", False), ("cache_write_1h_tokens", False),
    ("input_text_tokens", False), ("output_citation_tokens", False),
])
def test_what_has_no_price_and_is_no_text_is_noticed(unit: str, suspected: bool) -> None:
    text = {"input_tokens", "output_tokens"}
    assert doubtful({unit: 3, "input_tokens": 9}, text) == ([unit] if suspected else [])
    assert doubtful({unit: 0}, text) == []
    assert doubtful({unit: 3}, {*text, unit}) == []


def test_our_units_contain_each_other_as_the_price_books_do() -> None:
    for one in EVERYTHING:
        for other in EVERYTHING:
            theirs = set(unit_data[one]["dimensions"].items()) < set(unit_data[other]["dimensions"].items())
            assert (buckets.KINDS[one] < buckets.KINDS[other]) is theirs, (one, other)
    assert all(unit in unit_data for unit in buckets.COUNTS)
