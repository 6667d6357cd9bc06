"""Each wire request of a model is one event at Polar, whatever becomes of the request or of the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import copy
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import (
    ModelConnectionError,
    ModelHTTPError,
    ModelServerError,
    ModelUnavailableError,
    UserError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from sqlmodel import select

from chatapp.agent.ingestion import ReportingModel
from chatapp.agent.retrying import RetryingModel
from chatapp.billing import delivery
from chatapp.billing.ingestion import InvalidEvent, PolarIngestion
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import OutboxMessage
from chatapp.settings import Settings
from tests.billing.town import Town, open_town

LONG = "word " * 60
MEASURED = RequestUsage(input_tokens=1000, cache_read_tokens=400, output_tokens=100)
TOWN_OF_OPENAI = "https://api.openai.com/v1"


@pytest.fixture
def ingestion(db: Database, settings: Settings) -> PolarIngestion:
    return PolarIngestion(db, settings)


@pytest.fixture
async def town(db: Database, settings: Settings, tmp_path: Any) -> AsyncIterator[Town]:
    async with open_town(db, settings, tmp_path) as opened:
        yield opened


def reports(db: Database) -> list[OutboxMessage]:
    with db.reading() as session:
        return list(session.exec(select(OutboxMessage).order_by(OutboxMessage.created_at, OutboxMessage.id)).all())


def metadata(db: Database) -> dict[str, Any]:
    (message,) = reports(db)
    assert message.next_attempt_at <= clock(), "it is due"
    return dict(message.payload["metadata"])


def answering(**changes: Any) -> FunctionModel:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart("Yes.")], **{"usage": copy(MEASURED), "provider_name": "openai"} | changes)
    return FunctionModel(answer, model_name="gpt-4o")


def failing(error: Exception, times: int) -> FunctionModel:
    left = [error] * times

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if left:
            raise left.pop()
        return ModelResponse([TextPart("Yes.")], usage=copy(MEASURED))
    return FunctionModel(answer, model_name="m")


def endless() -> tuple[asyncio.Event, FunctionModel]:
    """A model that says LONG and then nothing more, and the event that tells that it did."""
    said = asyncio.Event()

    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield LONG
        said.set()
        await asyncio.Event().wait()
    return said, FunctionModel(stream_function=script, model_name="m")


async def stream(model: Model) -> None:
    async with Agent(model).run_stream_events("Why?") as events:
        async for _ in events:
            pass


async def test_an_event_has_all_that_the_former_helper_sent_and_cost_and_model(
    ingestion: PolarIngestion, town: Town
) -> None:
    model = ReportingModel(answering(provider_url=TOWN_OF_OPENAI), ingestion, "customer-1", metadata={"team": "blue"})
    result = await Agent(model).run("Why?")
    assert result.output == "Yes."
    await delivery.deliver(town.services)
    (event,) = await town.events()
    assert (event["name"], event["external_customer_id"]) == ("llm", "customer-1")
    cost = event["metadata"].pop("_cost")
    assert event["metadata"] == {
        "requests": 1, "request_tokens": 1000, "response_tokens": 100, "total_tokens": 1100,
        "input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 400, "exact": True, "status": "ok",
        "team": "blue",
        "_llm": {"vendor": "openai", "model": "gpt-4o", "input_tokens": 1000, "cached_input_tokens": 400,
                 "output_tokens": 100, "total_tokens": 1100},
    }
    assert Decimal(str(cost["amount"])) == Decimal("0.3"), "600 × $2.50, 400 × $1.25 and 100 × $10 a million, in cents"


@pytest.mark.parametrize("changes", [
    {}, {"model_name": "unheard-of", "provider_url": TOWN_OF_OPENAI}, {"provider_url": "http://localhost:11434/v1"},
], ids=["no such provider", "no such model", "a namesake on a server of one's own"])
async def test_an_unknown_cost_is_left_out_and_is_not_zero(
    ingestion: PolarIngestion, db: Database, changes: dict[str, str]
) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart("Yes.")], usage=copy(MEASURED), provider_url=changes.get("provider_url"))
    inner = FunctionModel(answer, model_name=changes.get("model_name", "gpt-4o"))
    await Agent(ReportingModel(inner, ingestion, "customer-1")).run("Why?")
    assert "_cost" not in metadata(db)
    assert metadata(db)["_llm"]["total_tokens"] == 1100


async def test_an_endpoint_of_ones_own_has_the_cost_that_its_owner_says(
    ingestion: PolarIngestion, db: Database
) -> None:
    def cost(response: ModelResponse) -> Decimal:
        return Decimal("0.000001") * response.usage.total_tokens
    await Agent(ReportingModel(answering(), ingestion, "customer-1", cost_usd=cost)).run("Why?")
    assert metadata(db)["_cost"] == {"amount": "0.11", "currency": "usd"}


async def test_a_cost_that_cannot_be_made_loses_no_event(
    ingestion: PolarIngestion, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def cost(response: ModelResponse) -> Decimal:
        raise KeyError(response.model_name)
    await Agent(ReportingModel(answering(), ingestion, "customer-1", cost_usd=cost)).run("Why?")
    assert "_cost" not in metadata(db)
    assert metadata(db)["status"] == "ok"
    assert any(record.exc_info for record in caplog.records), "it is logged, with its cause"


async def test_what_a_gateway_says_it_cost_is_the_cost(ingestion: PolarIngestion, db: Database) -> None:
    told = RequestUsage(input_tokens=10, output_tokens=1, cost=Decimal("0.5"))
    await Agent(ReportingModel(answering(usage=told), ingestion, "customer-1")).run("Why?")
    assert metadata(db)["_cost"] == {"amount": "50", "currency": "usd"}


async def test_an_answer_without_a_measurement_is_an_estimate(ingestion: PolarIngestion, db: Database) -> None:
    await Agent(ReportingModel(answering(usage=RequestUsage(unmeasured_requests=1)), ingestion, "c")).run("Why?")
    known = metadata(db)
    assert (known["exact"], known["status"], known["output_tokens"]) == (False, "ok", 2)
    assert known["input_tokens"] > 0


class Suspended(FunctionModel):
    """The provider pauses: with what it used so far, or to work on in the background."""

    async def request(self, *arguments: Any) -> ModelResponse:
        return ModelResponse([], usage=RequestUsage(input_tokens=int(self.model_name)), state="suspended")


@pytest.mark.parametrize(("tokens", "events"), [(70, [(70, True, "ok")]), (0, [])])
async def test_a_paused_response_counts_once_it_is_measured(
    ingestion: PolarIngestion, db: Database, tokens: int, events: list[tuple[int, bool, str]]
) -> None:
    model = Suspended(lambda *_: ModelResponse([]), model_name=str(tokens))
    await ReportingModel(model, ingestion, "c").request([], None, ModelRequestParameters())
    known = [message.payload["metadata"] for message in reports(db)]
    assert [(each["input_tokens"], each["exact"], each["status"]) for each in known] == events


async def test_the_requests_of_a_batch_which_nobody_sees_are_refused(ingestion: PolarIngestion) -> None:
    with pytest.raises(UserError, match="cannot be reported one by one"):
        await ReportingModel(answering(), ingestion, "c").batch_create([])


async def test_a_streamed_answer_is_measured_when_it_is_complete(ingestion: PolarIngestion, db: Database) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "All "
        yield "of it."
    await stream(ReportingModel(FunctionModel(stream_function=script, model_name="m"), ingestion, "customer-1"))
    known = metadata(db)
    assert (known["exact"], known["status"]) == (True, "ok")
    assert known["total_tokens"] == known["input_tokens"] + known["output_tokens"] > 50


async def test_a_cancelled_stream_is_an_estimate_of_what_was_received(ingestion: PolarIngestion, db: Database) -> None:
    said, model = endless()
    task = asyncio.create_task(stream(ReportingModel(model, ingestion, "customer-1")))
    await said.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    known = metadata(db)
    assert (known["exact"], known["status"], known["output_tokens"]) == (False, "stopped", 100)
    assert known["input_tokens"] > 0


async def test_a_stream_that_its_reader_leaves_is_an_estimate(ingestion: PolarIngestion, db: Database) -> None:
    async with Agent(ReportingModel(endless()[1], ingestion, "c")).run_stream_events("Why?") as events:
        async for _ in events:
            break
    known = metadata(db)
    assert (known["exact"], known["status"]) == (False, "stopped")


async def test_a_broken_stream_is_an_estimate(ingestion: PolarIngestion, db: Database) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield LONG
        raise ModelConnectionError("m", "connection reset", phase="read")
    with pytest.raises(ModelConnectionError):
        await stream(ReportingModel(FunctionModel(stream_function=script, model_name="m"), ingestion, "customer-1"))
    known = metadata(db)
    assert (known["exact"], known["status"], known["output_tokens"]) == (False, "failed", 100)


@pytest.mark.parametrize(("error", "statuses"), [
    (ModelConnectionError("m", "reset", phase="read"), ["failed", "ok"]),
    (ModelHTTPError.for_category(ModelServerError, status_code=504, model_name="m"), ["failed", "ok"]),
    (ModelHTTPError.for_category(ModelUnavailableError, status_code=503, model_name="m"), ["ok"]),
    (ModelConnectionError("m", "refused", phase="connect"), ["ok"]),
], ids=["lost answer", "gateway's time-out", "refused", "never connected"])
async def test_each_attempt_that_may_have_cost_something_is_an_event(
    ingestion: PolarIngestion, db: Database, error: Exception, statuses: list[str]
) -> None:
    model = RetryingModel(ReportingModel(failing(error, 1), ingestion, "customer-1"), first_pause_seconds=0.001)
    await Agent(model).run("Why?")
    known = [message.payload["metadata"] for message in reports(db)]
    assert [each["status"] for each in known] == statuses
    assert [each["exact"] for each in known] == [status == "ok" for status in statuses]
    assert all(message.next_attempt_at <= clock() for message in reports(db))


async def test_members_of_a_fallback_are_wrapped_each(ingestion: PolarIngestion, db: Database) -> None:
    timed_out = ModelHTTPError.for_category(ModelServerError, status_code=504, model_name="m")
    first, second = failing(timed_out, 1), answering()
    with pytest.raises(ValueError, match="wrap each of its members"):
        ReportingModel(FallbackModel(first, second), ingestion, "customer-1")
    model = FallbackModel(*(ReportingModel(member, ingestion, "customer-1") for member in (first, second)))
    await Agent(model).run("Why?")
    assert [message.payload["metadata"]["_llm"]["model"] for message in reports(db)] == ["m", "gpt-4o"]


async def test_nothing_is_sent_that_could_not_be_reported(ingestion: PolarIngestion, db: Database) -> None:
    calls: list[int] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        calls.append(1)
        return ModelResponse([TextPart("Yes.")])
    for wrong in ({"event_name": "usage"}, {"metadata": {"a": None}}):
        with pytest.raises(InvalidEvent):
            await Agent(ReportingModel(FunctionModel(answer), ingestion, "c", **wrong)).run("Why?")  # type: ignore[arg-type]
    assert (calls, reports(db)) == ([], [])


async def test_a_cancel_at_any_moment_leaves_one_event_that_is_due_or_none(ingestion: PolarIngestion) -> None:
    async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        await asyncio.sleep(0.02)
        yield "So."
    statuses: set[str] = set()
    for moment in range(500):
        before = len(reports(ingestion.db))
        model = ReportingModel(FunctionModel(stream_function=script, model_name="m"), ingestion, "customer-1")
        task = asyncio.create_task(stream(model))
        await asyncio.sleep(moment * 0.003)
        task.cancel()
        await asyncio.wait([task])
        found = reports(ingestion.db)
        assert len(found) - before in (0, 1)
        assert all(message.next_attempt_at <= clock() for message in found)
        statuses |= {message.payload["metadata"]["status"] for message in found}
        if "ok" in statuses:
            break
    assert statuses == {"stopped", "ok"}
