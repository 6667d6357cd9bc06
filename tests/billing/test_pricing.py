"""The cost of quantities: unit prices, cliffs, service tiers, and how a ledger row keeps them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.agent.meter import worst_cost_usd
from chatapp.billing import pricing
from chatapp.billing.buckets import TEXT_INPUT_BUCKETS, TEXT_OUTPUT_BUCKETS
from chatapp.billing.pricing import Rates, Tier, UnitPrices, UnpricedQuantity, applied, cost_usd, first_estimate
from tests.billing.conftest import PRICES

quantities = st.dictionaries(st.sampled_from(sorted(PRICES.usd_per_unit)), st.integers(0, 10**7))
usd = st.decimals(0, 1, places=12, allow_nan=False)
price_lists = st.fixed_dictionaries(
    {"input_tokens": usd, "output_tokens": usd},
    optional={"cache_read_tokens": usd, "cache_write_tokens": usd, "cache_write_1h_tokens": usd,
              "output_reasoning_tokens": usd, "requests": usd},
)
tiers = st.lists(st.tuples(st.integers(0, 5_000), price_lists), max_size=3, unique_by=lambda tier: tier[0]).map(
    lambda found: tuple(Tier(start, rates) for start, rates in sorted(found, key=lambda tier: tier[0]))
)
rates = st.builds(Rates, price_lists, tiers)
unit_prices = st.builds(
    UnitPrices, st.just("p"), st.just("m"), st.just("test"), price_lists, tiers,
    st.dictionaries(st.sampled_from(("flex", "priority")), rates, max_size=2),
)
CLIFF = UnitPrices(
    "p", "m", "test", {"input_tokens": Decimal(1), "cache_read_tokens": Decimal("0.1"), "output_tokens": Decimal(10)},
    (Tier(100, {"input_tokens": Decimal(2), "cache_read_tokens": Decimal("0.2"), "output_tokens": Decimal(15)}),
     Tier(200, {"input_tokens": Decimal(4), "cache_read_tokens": Decimal("0.4"), "output_tokens": Decimal(20)})),
    {"priority": Rates({"output_tokens": Decimal(30)}, (Tier(100, {"output_tokens": Decimal(40)}),))},
)


@given(quantities, quantities)
def test_cost_adds_up_over_steps(first: dict[str, int], second: dict[str, int]) -> None:
    both = {key: first.get(key, 0) + second.get(key, 0) for key in {*first, *second}}
    assert cost_usd(PRICES, both) == cost_usd(PRICES, first) + cost_usd(PRICES, second)


def test_a_quantity_without_a_price_is_not_free() -> None:
    with pytest.raises(UnpricedQuantity, match="audio_tokens"):
        cost_usd(PRICES, {"audio_tokens": 1})


def test_a_service_tier_that_the_prices_do_not_know_is_not_free() -> None:
    with pytest.raises(UnpricedQuantity, match="service_tier_scale"):
        cost_usd(CLIFF, {"input_tokens": 1, "service_tier_scale": 1})


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have been used"):
        cost_usd(PRICES, {"input_tokens": -1})


@pytest.mark.parametrize(("used", "cost"), [
    ({"input_tokens": 100, "output_tokens": 1}, "110"),
    ({"input_tokens": 101, "output_tokens": 1}, "217"),
    ({"input_tokens": 50, "cache_read_tokens": 50, "output_tokens": 1}, "65"),
    ({"input_tokens": 50, "cache_read_tokens": 51, "output_tokens": 1}, "125.2"),
    ({"input_tokens": 200, "output_tokens": 1}, "415"),
    ({"input_tokens": 201, "output_tokens": 1_000}, "20804"),
])
def test_beyond_a_cliff_the_whole_request_costs_more_and_cached_input_counts_towards_it(
    used: dict[str, int], cost: str
) -> None:
    assert cost_usd(CLIFF, used) == Decimal(cost)


def test_a_request_served_by_another_service_tier_costs_what_that_tier_does() -> None:
    served = {"service_tier_priority": 1}
    assert cost_usd(CLIFF, {"input_tokens": 100, "output_tokens": 1, **served}) == 100 + 30
    assert cost_usd(CLIFF, {"input_tokens": 101, "output_tokens": 1, **served}) == 202 + 40
    assert applied(CLIFF, {"input_tokens": 101, **served}).service_tier == "priority"


def test_a_reversal_is_explained_by_the_cliff_of_what_it_takes_back() -> None:
    assert applied(CLIFF, {"input_tokens": -150}).above_input_tokens == 100
    assert applied(CLIFF, {"input_tokens": 100}).above_input_tokens is None


@given(unit_prices, st.data())
def test_no_request_within_its_bounds_costs_more_than_its_hold(prices: UnitPrices, data: st.DataObject) -> None:
    lists = [prices.usd_per_unit, *(tier.usd_per_unit for tier in prices.tiers)]
    common = set.intersection(*(set(rates) for rates in lists))
    at_most = data.draw(st.integers(0, 10_000), "input at most")
    output = data.draw(st.integers(0, 2_000), "output at most")
    used = {"requests": 1} if "requests" in common else {}
    for names, limit in ((TEXT_INPUT_BUCKETS, at_most), (TEXT_OUTPUT_BUCKETS, output)):
        for bucket in sorted(common.intersection(names)):
            used[bucket] = data.draw(st.integers(0, limit), bucket)
            limit -= used[bucket]
    assert cost_usd(prices, used) <= worst_cost_usd(prices, at_most, output)


def test_the_bound_counts_only_the_cliffs_that_can_be_reached() -> None:
    assert worst_cost_usd(CLIFF, 100, 1) == 110
    assert worst_cost_usd(CLIFF, 101, 1) == 217
    assert worst_cost_usd(CLIFF, 201, 1) == 824


@given(unit_prices)
def test_prices_survive_the_ledger_unrounded_with_all_their_tiers(prices: UnitPrices) -> None:
    assert pricing.from_json(json.loads(json.dumps(pricing.as_json(prices)))) == prices


def test_rows_from_before_there_were_tiers_are_still_read() -> None:
    stored = {"provider": "p", "name": "n", "version": "v", "usd_per_unit": {"input_tokens": "0.0000025"}}
    prices = pricing.from_json(stored)
    assert prices == UnitPrices("p", "n", "v", {"input_tokens": Decimal("0.0000025")})
    assert pricing.as_json(prices) == stored


def test_unit_prices_are_kept_to_the_last_digit() -> None:
    prices = UnitPrices("p", "n", "v", {"input_tokens": Decimal("0.000000123456789012345678901234567")})
    assert pricing.from_json(pricing.as_json(prices)) == prices


def test_a_model_that_said_nothing_is_estimated_by_a_third_of_its_input_bytes_and_one_request() -> None:
    assert first_estimate("model", {"input_tokens": 1000, "output_tokens": 500, "requests": 1}) == {
        "input_tokens": 334, "requests": 1,
    }


def test_a_tool_that_said_nothing_is_estimated_by_its_cap() -> None:
    assert first_estimate("tool", {"results": 5}) == {"results": 5}
