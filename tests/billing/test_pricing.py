"""The cost of quantities, and the price book."""

from dataclasses import replace
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing import pricing
from chatapp.billing.pricebook import UnpricedModel, unit_prices
from chatapp.billing.pricing import UnitPrices, UnpricedQuantity, cost_usd, first_estimate
from chatapp.settings import ModelPrice, Settings
from tests.billing.conftest import PRICES

quantities = st.dictionaries(st.sampled_from(sorted(PRICES.usd_per_unit)), st.integers(0, 10**7))


@pytest.fixture
def openai(settings: Settings) -> Settings:
    vendor = replace(settings.llm, url="https://api.openai.com/v1", emulated=False)
    return replace(settings, llm=vendor, model_price=None)


@given(quantities, quantities)
def test_cost_adds_up_over_steps(first: dict[str, int], second: dict[str, int]) -> None:
    both = {key: first.get(key, 0) + second.get(key, 0) for key in {*first, *second}}
    assert cost_usd(PRICES, both) == cost_usd(PRICES, first) + cost_usd(PRICES, second)


def test_a_quantity_without_a_price_is_not_free() -> None:
    with pytest.raises(UnpricedQuantity, match="audio_tokens"):
        cost_usd(PRICES, {"audio_tokens": 1})


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have been used"):
        cost_usd(PRICES, {"input_tokens": -1})


def test_unit_prices_survive_the_ledger_unrounded() -> None:
    prices = UnitPrices("p", "n", "v", {"input_tokens": Decimal("0.000000123456789012345678901234567")})
    assert pricing.from_json(pricing.as_json(prices)) == prices


def test_a_model_that_said_nothing_is_estimated_by_a_third_of_its_input_bytes() -> None:
    assert first_estimate("model", {"input_tokens": 1000, "output_tokens": 500}) == {"input_tokens": 334}


def test_a_tool_that_said_nothing_is_estimated_by_its_cap() -> None:
    assert first_estimate("tool", {"searches": 5}) == {"searches": 5}


def test_the_operators_own_price_wins_and_the_price_book_is_not_asked(settings: Settings) -> None:
    own = replace(settings, model_price=ModelPrice(Decimal("2.50"), Decimal("10")))
    prices = unit_prices(own, "no-book-knows-this")
    assert prices.version == "settings"
    assert prices.usd_per_unit["input_tokens"] == Decimal("0.0000025")
    assert prices.usd_per_unit["cache_read_tokens"] == Decimal("0.0000025")
    assert prices.usd_per_unit["output_tokens"] == Decimal("0.00001")


def test_a_local_server_with_a_famous_model_is_not_priced_as_the_famous_one(settings: Settings) -> None:
    local = replace(settings, model_price=None, llm=replace(settings.llm, url="http://localhost:11434/v1"))
    with pytest.raises(UnpricedModel, match="MODEL_PRICE") as refused:
        unit_prices(local, "gpt-4o-mini")
    assert refused.value.setting == "MODEL_PRICE"
    assert "price" in refused.value.text


def test_an_unknown_model_is_refused(openai: Settings) -> None:
    with pytest.raises(UnpricedModel, match="gpt-999"):
        unit_prices(openai, "gpt-999")


def test_a_model_that_charges_for_what_is_not_counted_is_refused(openai: Settings) -> None:
    perplexity = replace(openai, llm=replace(openai.llm, url="https://api.perplexity.ai"))
    with pytest.raises(UnpricedModel, match="not metered here"):
        unit_prices(perplexity, "sonar")


def test_the_price_book_and_our_buckets_agree_on_the_cost(openai: Settings) -> None:
    prices = unit_prices(openai, "gpt-4o-mini")
    theirs = calc_price(Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=50), "gpt-4o-mini",
                        provider_api_url="https://api.openai.com/v1").total_price
    assert cost_usd(prices, {"input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 50}) == theirs
    assert prices.version.startswith("genai-prices ")


def test_a_cliff_takes_the_dearest_rate_that_could_apply(openai: Settings) -> None:
    google = replace(openai, llm=replace(openai.llm, url="https://generativelanguage.googleapis.com/v1beta/openai"))
    model = "gemini-2.5-pro"
    low = unit_prices(google, model, input_tokens_at_most=200_000).usd_per_unit
    high = unit_prices(google, model, input_tokens_at_most=200_001).usd_per_unit
    assert low["input_tokens"] < high["input_tokens"]
    assert unit_prices(google, model).usd_per_unit == high
