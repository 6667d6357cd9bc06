"""The model's endpoint: what is sent, and how its measurements are read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel

from chatapp.agent.measured import quantities
from chatapp.clients.llm import CONNECT_SECONDS, READ_SECONDS, build_model, close_model
from chatapp.settings import load
from tests.billing.conftest import PRICES

Build = Callable[..., OpenAIChatModel]


class Endpoint:
    """A vendor's endpoint without a network: answers from a list and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.answers: list[httpx2.Response] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    @property
    def body(self) -> dict[str, object]:
        sent: dict[str, object] = json.loads(self.requests[-1].content)
        return sent


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, Build]]:
    served, built = Endpoint(), list[OpenAIChatModel]()

    def build(**environment: str) -> OpenAIChatModel:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(served))
        built.append(build_model(load({"OPENAI_API_KEY": "sk-x", "MODEL": "gpt-4o", **environment}), client))
        return built[-1]

    yield served, build
    for model in built:
        await close_model(model)


def events(*chunks: dict[str, object]) -> httpx2.Response:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"}
    lines = [f"data: {json.dumps({**head, **chunk})}\n\n" for chunk in chunks]
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text="".join(lines) + "data: [DONE]\n\n")


def says(text: str, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


async def stream(model: OpenAIChatModel) -> ModelResponse:
    messages: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart("Why?")])]
    async with model.request_stream(messages, {"max_tokens": 77}, ModelRequestParameters()) as response:
        async for _ in response:
            pass
    return response.get()


async def test_cached_tokens_are_counted_once(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers.append(events(says("Because."), says("", "stop"), {"choices": [], "usage": {
        "prompt_tokens": 1000, "completion_tokens": 40, "total_tokens": 1040,
        "prompt_tokens_details": {"cached_tokens": 768},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }}))
    response = await stream(build())
    assert response.state == "complete"
    assert quantities(response, PRICES) == {"input_tokens": 232, "cache_read_tokens": 768, "output_tokens": 40}


async def test_a_server_that_measures_nothing_says_so(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers.append(events(says("Because."), says("", "stop")))
    response = await stream(build())
    assert (response.state, response.usage.unmeasured_requests) == ("complete", 1)


async def test_an_answer_without_an_end_is_a_failure(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers.append(events(says("Becau")))
    with pytest.raises(ModelAPIError, match="finish_reason"):
        await stream(build())


async def test_the_sdk_never_retries(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers.append(httpx2.Response(500, json={"error": {"message": "no"}}))
    with pytest.raises(ModelHTTPError):
        await stream(build())
    assert len(served.requests) == 1


async def test_the_output_limit_has_the_name_that_the_endpoint_honours(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers += [events(says("a", "stop")), events(says("a", "stop"))]
    await stream(build())
    assert served.body["max_completion_tokens"] == 77
    assert "max_tokens" not in served.body
    await stream(build(OPENAI_BASE_URL="http://localhost:11434/v1", MODEL_PRICE="0/0"))
    assert served.body["max_tokens"] == 77
    assert "max_completion_tokens" not in served.body
    assert str(served.requests[-1].url) == "http://localhost:11434/v1/chat/completions"


async def test_it_waits_long_for_an_answer_but_not_for_a_connection(endpoint: tuple[Endpoint, Build]) -> None:
    served, build = endpoint
    served.answers.append(events(says("a", "stop")))
    await stream(build())
    timeout = served.requests[0].extensions["timeout"]
    assert (timeout["connect"], timeout["read"]) == (CONNECT_SECONDS, READ_SECONDS)
