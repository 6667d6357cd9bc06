"""The price book: real models at their hosts, the operator's own table, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing.buckets import disjoint
from chatapp.billing.pricebook import UnpricedModel, unit_prices
from chatapp.billing.pricing import UnitPrices, by_the_request, cost_usd
from chatapp.settings import ModelPrice, Settings, load
from tests.billing.conftest import NOON
from tests.billing.test_buckets import usages

OPENAI = "https://api.openai.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"
ANTHROPIC = "https://api.anthropic.com/v1"
DEEPSEEK = "https://api.deepseek.com/v1"
PERPLEXITY = "https://api.perplexity.ai"
OPENROUTER = "https://openrouter.ai/api/v1"
MODELS = (
    (OPENAI, "gpt-4o-mini"), (OPENAI, "gpt-5-mini"), (OPENAI, "gpt-6-sol"), (GOOGLE, "gemini-2.5-pro"),
    (GOOGLE, "gemini-2.5-flash"), (ANTHROPIC, "claude-haiku-4-5"), (ANTHROPIC, "claude-sonnet-4-5"),
    (DEEPSEEK, "deepseek-chat"), (PERPLEXITY, "sonar"), (OPENROUTER, "openai/gpt-oss-120b"),
)


def at(url: str) -> Settings:
    settings = load({"LIMITS": "on"})
    return replace(settings, llm=replace(settings.llm, url=url, emulated=False), model_price=None)


def prices(url: str, model: str, now: datetime = NOON) -> UnitPrices:
    return unit_prices(at(url), model, now=now)


def own(price: ModelPrice) -> UnitPrices:
    return unit_prices(replace(at("http://localhost:11434/v1"), model_price=price), "llama", now=NOON)


@pytest.mark.parametrize(("url", "model", "used", "cost"), [
    # $0.15 a million in, $0.075 cached, $0.60 out
    (OPENAI, "gpt-4o-mini", {"input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 50}, "0.00015"),
    # $1.25 and $10 up to 200,000 tokens, cached $0.125
    (GOOGLE, "gemini-2.5-pro", {"input_tokens": 150_000, "cache_read_tokens": 50_000, "output_tokens": 1000},
     "0.20375"),
    # one token more: $2.50 and $15, cached $0.25, for all of them
    (GOOGLE, "gemini-2.5-pro", {"input_tokens": 150_001, "cache_read_tokens": 50_000, "output_tokens": 1000},
     "0.4025025"),
    # $1 in, $0.10 read, $1.25 written for five minutes, $2 for an hour, $5 out
    (ANTHROPIC, "claude-haiku-4-5", {
        "input_tokens": 100, "cache_read_tokens": 2000, "cache_write_tokens": 3000, "cache_write_1h_tokens": 500,
        "output_tokens": 400,
    }, "0.00705"),
    # $0.30 in, $0.03 cached, audio $1 and $0.10 cached, $2.50 out
    (GOOGLE, "gemini-2.5-flash", {
        "input_tokens": 1000, "cache_read_tokens": 1000, "input_audio_tokens": 1000, "cache_audio_read_tokens": 1000,
        "output_tokens": 1000,
    }, "0.00393"),
    # $1 in and out, and $12 for a thousand requests
    (PERPLEXITY, "sonar", {"input_tokens": 500, "output_tokens": 500, "requests": 1}, "0.013"),
])
def test_real_models_cost_what_their_price_lists_say(url: str, model: str, used: dict[str, int], cost: str) -> None:
    assert cost_usd(prices(url, model), used) == Decimal(cost)


@given(st.sampled_from(MODELS), usages())
def test_our_buckets_and_the_price_book_agree_on_every_cost(model: tuple[str, str], usage: dict[str, int]) -> None:
    url, name = model
    ours = prices(url, name)
    counted = {**disjoint(usage, ours.usd_per_unit), **by_the_request(ours)}
    theirs = calc_price(Usage(**usage), name, provider_api_url=url, genai_request_timestamp=NOON)
    assert cost_usd(ours, counted) == theirs.total_price


@pytest.mark.parametrize("tier", ["flex", "priority", "fast"])
@given(usage=usages())
def test_the_vendors_service_tiers_cost_what_the_price_book_says(tier: str, usage: dict[str, int]) -> None:
    for model in ("gpt-6-sol", "gpt-5-mini"):
        ours = prices(OPENAI, model)
        counted = {**disjoint(usage, ours.usd_per_unit), f"service_tier_{tier}": 1}
        theirs = calc_price(Usage(**usage), model, provider_api_url=OPENAI, genai_request_timestamp=NOON,
                            price_context={"service_tier": tier})
        assert cost_usd(ours, counted) == theirs.total_price


def test_prices_that_change_by_the_hour_are_those_of_the_request() -> None:
    used = {"input_tokens": 1_000_000}
    for hour, cost in ((12, "0.27"), (20, "0.135")):
        assert cost_usd(prices(DEEPSEEK, "deepseek-chat", NOON.replace(hour=hour)), used) == Decimal(cost)


def test_prices_that_began_on_a_date_are_those_of_the_request() -> None:
    used = {"input_tokens": 100_000}
    for day, cost in ((datetime(2026, 7, 29, tzinfo=UTC), "0.1"), (datetime(2026, 7, 30, tzinfo=UTC), "0.02")):
        assert cost_usd(prices(OPENAI, "gpt-5.6-luna", day), used) == Decimal(cost)


def test_the_price_book_names_its_version() -> None:
    assert prices(OPENAI, "gpt-4o-mini").version.startswith("genai-prices ")


@pytest.mark.parametrize(("url", "model", "why"), [
    ("http://localhost:11434/v1", "gpt-4o-mini", "does not know it at http://localhost:11434/v1"),
    (OPENAI, "gpt-999", "does not know it"),
    (PERPLEXITY, "sonar-deep-research", "output_citation_mtok"),
    (OPENAI, "gpt-4o-search-preview", "searches the web by itself"),
    (OPENROUTER, "perplexity/sonar", "searches the web by itself"),
    (OPENAI, "whisper-1", "not metered here"),
    (OPENAI, "text-embedding-3-small", "no token price"),
])
def test_a_model_whose_price_is_unknown_or_cannot_be_metered_is_refused_by_name(url: str, model: str, why: str) -> None:
    with pytest.raises(UnpricedModel) as refused:
        prices(url, model)
    assert why in str(refused.value)
    assert repr(model) in str(refused.value)
    assert "MODEL_PRICE" in str(refused.value)
    assert refused.value.setting == "MODEL_PRICE"
    assert model in refused.value.text


def test_the_operators_own_price_wins_and_the_price_book_is_not_asked() -> None:
    found = own(ModelPrice(Decimal("2.50"), Decimal("10")))
    assert (found.version, found.provider, found.tiers, found.service_tiers) == ("settings", "localhost", (), {})
    assert cost_usd(found, {"input_tokens": 10, "cache_read_tokens": 10, "output_tokens": 10}) == Decimal("0.00015")


def test_an_own_model_that_costs_nothing_costs_nothing() -> None:
    free = own(ModelPrice(Decimal(0), Decimal(0)))
    assert cost_usd(free, {"input_tokens": 10**6, "cache_write_1h_tokens": 10**6, "output_tokens": 10**6}) == 0


def test_the_operators_table_prices_every_part_that_it_names() -> None:
    found = own(ModelPrice(
        Decimal(1), Decimal(2), cache_read_usd_per_million=Decimal(0), cache_write_usd_per_million=Decimal(3),
        reasoning_usd_per_million=Decimal(4), request_usd=Decimal("0.001"),
    ))
    for bucket, cost in (("input_tokens", 1), ("cache_read_tokens", 0), ("cache_write_tokens", 3),
                         ("cache_write_1h_tokens", 3), ("output_tokens", 2), ("output_reasoning_tokens", 4)):
        assert cost_usd(found, {bucket: 1_000_000}) == cost, bucket
    assert cost_usd(found, {"requests": 2}) == Decimal("0.002")


def test_the_operators_table_prices_models_by_name_and_no_other_by_chance() -> None:
    settings = replace(at("http://localhost:11434/v1"), model_prices={"llama": ModelPrice(Decimal(1), Decimal(2))})
    assert cost_usd(unit_prices(settings, "llama", now=NOON), {"input_tokens": 1_000_000}) == 1
    with pytest.raises(UnpricedModel, match="gpt-4o"):
        unit_prices(settings, "gpt-4o", now=NOON)
