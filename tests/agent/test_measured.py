"""What a measurement comes to: tiers, service tiers, and parts that have no price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from sqlmodel import select

from chatapp.agent.measured import at_least, is_exact, quantities
from chatapp.agent.meter import MAX_OUTPUT_TOKENS
from chatapp.agent.run import metered
from chatapp.billing.pricebook import unit_prices
from chatapp.models import Hold, UsageEvent
from chatapp.settings import load
from tests.agent.conftest import NOON, Desk
from tests.billing.conftest import PRICES
from tests.clients.test_llm import Build, Endpoint, endpoint, events, says

__all__ = ["endpoint"]

OPENAI = "https://api.openai.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"


def answering(usage: RequestUsage, name: str, **details: object) -> tuple[FunctionModel, list[AgentInfo]]:
    asked: list[AgentInfo] = []

    def script(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(info)
        return ModelResponse([TextPart("Yes.")], usage=usage, provider_details=details or None)

    return FunctionModel(script, model_name=name), asked


async def settled(desk: Desk, url: str, model: Model, prompt: str = "Why?") -> UsageEvent:
    """The ledger row of one request to a model at this address, priced by the price book."""
    settings = replace(desk.settings, llm=replace(desk.settings.llm, url=url), model_price=None)
    await Agent(metered(settings, model, desk.deps(model).payer)).run(prompt)
    (row,) = desk.ledger()
    desk.assert_settled()
    return row


@pytest.mark.parametrize(("input_tokens", "cost"), [(60_000, "0.0751"), (200_000, "0.2501"), (200_001, "0.5001525")])
async def test_a_long_request_is_held_beyond_the_cliff_and_settled_on_its_own_side_of_it(
    sqlite_desk: Desk, input_tokens: int, cost: str
) -> None:
    model, _ = answering(RequestUsage(input_tokens=input_tokens, output_tokens=10), "gemini-2.5-pro")
    row = await settled(sqlite_desk, GOOGLE, model, prompt="x" * 220_000)
    assert (row.exact, Decimal(row.cost_usd), row.overrun_nanousd) == (True, Decimal(cost), 0)
    [tier] = row.terms["prices"]["tiers"]
    assert tier["above_input_tokens"] == 200_000


async def test_a_price_by_the_request_is_held_estimated_and_settled(sqlite_desk: Desk) -> None:
    held: list[Hold] = []

    def script(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        with sqlite_desk.db.reading() as session:
            held.extend(session.exec(select(Hold)))
        return ModelResponse([TextPart("Yes.")], usage=RequestUsage(input_tokens=5, output_tokens=3))

    row = await settled(sqlite_desk, "https://api.perplexity.ai", FunctionModel(script, model_name="sonar"))
    (hold,) = held
    assert hold.cost_bound_nanousd > 12_000_000 + MAX_OUTPUT_TOKENS * 1_000
    assert hold.estimate["requests"] == 1, "a crash does not make the request free"
    assert row.quantities == {"input_tokens": 5, "output_tokens": 3, "requests": 1}
    assert (Decimal(row.cost_usd), row.exact) == (Decimal("0.012008"), True), "$1 a million, $12 a thousand requests"


async def test_an_answer_by_another_service_tier_costs_what_that_tier_does(sqlite_desk: Desk) -> None:
    usage = RequestUsage(input_tokens=10, cache_read_tokens=4, output_tokens=3)
    model, asked = answering(usage, "gpt-6-sol", service_tier="priority")
    row = await settled(sqlite_desk, OPENAI, model)
    assert (asked[0].model_settings or {}).get("service_tier") == "default", "no other is ever asked for"
    assert row.quantities == {
        "input_tokens": 6, "cache_read_tokens": 4, "output_tokens": 3, "service_tier_priority": 1,
    }
    assert Decimal(row.cost_usd) == Decimal("0.0000856"), "$4, $0.40 and $20 a million"
    assert row.exact


async def test_the_default_tier_is_asked_for_on_the_wire_and_the_answer_s_tier_is_read_from_it(
    sqlite_desk: Desk, endpoint: tuple[Endpoint, Build]
) -> None:
    served, build = endpoint
    tokens = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    served.answers.append(events(says("Yes.") | {"service_tier": "flex"}, says("", "stop"),
                                 {"choices": [], "usage": tokens}))
    settings = replace(sqlite_desk.settings, llm=replace(sqlite_desk.settings.llm, url=OPENAI), model_price=None)
    agent = Agent(metered(settings, build(MODEL="gpt-6-sol"), sqlite_desk.deps(build()).payer))
    async with agent.run_stream_events("Why?") as stream:
        async for _ in stream:
            pass
    (row,) = sqlite_desk.ledger()
    assert served.body["service_tier"] == "default"
    assert row.quantities == {"input_tokens": 10, "output_tokens": 3, "service_tier_flex": 1}
    assert Decimal(row.cost_usd) == Decimal("0.000025"), "$1 and $5 a million"


@pytest.mark.parametrize("details", [{}, {"service_tier": None}, {"service_tier": "default"},
                                     {"service_tier": "on_demand"}, {"service_tier": "Standard"}])
def test_the_default_tier_has_the_list_price_by_whatever_name(details: dict[str, object]) -> None:
    response = ModelResponse([], usage=RequestUsage(input_tokens=1), provider_details=details)
    assert quantities(response, PRICES) == {"input_tokens": 1, "output_tokens": 0}
    assert is_exact(response, PRICES)


async def test_other_servers_are_asked_for_no_tier_and_a_tier_without_a_price_is_not_exact(sqlite_desk: Desk) -> None:
    model, asked = answering(RequestUsage(input_tokens=10, output_tokens=3), "gemini-2.5-pro", service_tier="priority")
    row = await settled(sqlite_desk, GOOGLE, model)
    assert "service_tier" not in (asked[0].model_settings or {})
    assert not row.exact
    assert row.quantities == {"input_tokens": 10, "output_tokens": 3}


@pytest.mark.parametrize(("part", "exact"), [
    ({"input_audio_tokens": 4}, False), ({"output_audio_tokens": 2}, False), ({"web_searches": 1}, False),
    ({"audio_seconds": 0.5}, False), ({"output_reasoning_tokens": 2}, True), ({"cache_write_1h_tokens": 0}, True),
])
def test_a_part_without_a_known_price_is_never_dropped_in_silence(
    part: dict[str, float], exact: bool, caplog: pytest.LogCaptureFixture
) -> None:
    response = ModelResponse([], usage=RequestUsage(input_tokens=9, output_tokens=5, **part))
    assert quantities(response, PRICES) == {"input_tokens": 9, "output_tokens": 5}
    assert is_exact(response, PRICES) is exact
    assert (next(iter(part)) in caplog.text) is not exact


def test_a_model_with_audio_prices_has_audio_buckets() -> None:
    settings = load({})
    google = replace(settings, llm=replace(settings.llm, url=GOOGLE), model_price=None)
    prices = unit_prices(google, "gemini-2.5-flash", now=NOON)
    usage = RequestUsage(input_tokens=100, cache_read_tokens=40, input_audio_tokens=30, cache_audio_read_tokens=10,
                         output_tokens=7)
    response = ModelResponse([], usage=usage)
    assert quantities(response, prices) == {
        "input_tokens": 40, "cache_read_tokens": 30, "input_audio_tokens": 20, "cache_audio_read_tokens": 10,
        "output_tokens": 7,
    }
    assert is_exact(response, prices)


def test_an_unfinished_answer_counts_the_reported_input_and_the_larger_output() -> None:
    estimated = {"input_tokens": 50, "output_tokens": 20, "requests": 1}
    assert at_least({"input_tokens": 0, "output_tokens": 0, "requests": 1}, estimated) == estimated
    reported = {"input_tokens": 0, "cache_read_tokens": 30, "output_tokens": 1, "output_reasoning_tokens": 25}
    assert at_least(reported, estimated) == {"cache_read_tokens": 30, "output_tokens": 1, "output_reasoning_tokens": 25}
    assert at_least({"input_tokens": 8, "output_tokens": 1}, estimated) == {"input_tokens": 8, "output_tokens": 20}
