"""The emulated model over HTTP, with the real OpenAI SDK."""

import asyncio
import json
import re
import time
from collections.abc import Iterator

import httpx
import openai
import pytest

from emulators import llm
from emulators.faults import Fault
from emulators.llm import lorem, tokens
from tests.emulators.serving import Served, serving

QUESTION = [{"role": "user", "content": "Why did solar energy become cheap?"}]
SEARCH = {
    "type": "function",
    "function": {
        "name": "web_search",
        "description": "Search.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}


@pytest.fixture
def served(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("EMULATED_TOKENS_PER_SECOND", "100000")
    with serving(tmp_path, "llm", llm) as running:
        yield running


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-emulated", base_url=f"{served.url}/v1", max_retries=0)


def log(served: Served) -> list[dict]:
    return httpx.get(f"{served.url}/_emulator/log").json()["requests"]


def test_an_answer_counts_its_tokens_honestly(served: Served, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="emulated-model", messages=QUESTION)
    text = answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert "no real model is connected" in text.lower()
    assert answer.usage.completion_tokens == tokens.count(text)
    assert answer.usage.prompt_tokens == tokens.count(QUESTION[0]["content"]) + 7
    [row] = log(served)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        answer.usage.prompt_tokens, answer.usage.completion_tokens
    )
    assert (row["model"], row["finish"], row["streamed"]) == ("emulated-model", "stop", False)


def test_a_stream_gives_the_same_text_and_usage_as_the_whole_answer(served: Served, client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=QUESTION)
    chunks = list(
        client.chat.completions.create(
            model="m", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert [row["completion_tokens"] for row in log(served)] == [whole.usage.completion_tokens] * 2


def test_a_stream_has_no_usage_unless_it_is_asked_for(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="m", messages=QUESTION, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_the_tokens_allowed(served: Served, client: openai.OpenAI, name: str) -> None:
    answer = client.chat.completions.create(model="m", messages=QUESTION, **{name: 7})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 7 == tokens.count(answer.choices[0].message.content)
    assert log(served)[0]["finish"] == "length"


def test_a_tool_call_is_streamed_as_deltas(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="m", messages=QUESTION, tools=[SEARCH], stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].id.startswith("call_")
    assert deltas[0].function.name == "web_search"
    assert json.loads("".join(delta.function.arguments for delta in deltas)) == {"query": "solar energy become cheap"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("count", [1, 30, 2000])
def test_the_lorem_directive_gives_exactly_so_many_tokens(client: openai.OpenAI, count: int) -> None:
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"lorem {count}"}])
    assert answer.usage.completion_tokens == count == tokens.count(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"
    if count == 2000:
        marks = ("## ", "| ---", "```python", "$x_", "> ", "- ")
        assert all(mark in answer.choices[0].message.content for mark in marks)


def test_the_pace_is_kept_and_can_be_set_by_header_or_for_all(served: Served, client: openai.OpenAI) -> None:
    def seconds(**options) -> float:
        return asyncio.run(_timed(served, options))

    async def _timed(served: Served, headers: dict) -> float:
        begin = asyncio.get_running_loop().time()
        sdk = openai.AsyncOpenAI(api_key="sk-emulated", base_url=f"{served.url}/v1", max_retries=0)
        stream = await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "lorem 40"}], stream=True, extra_headers=headers
        )
        async for _ in stream:
            pass
        return asyncio.get_running_loop().time() - begin

    assert 0.19 <= seconds(**{"x-emulated-tokens-per-second": "200"}) < 1
    assert httpx.post(f"{served.url}/_emulator/pace", json={"tokens_per_second": 400}).status_code == 200
    assert 0.09 <= seconds() < 0.8
    assert httpx.post(f"{served.url}/_emulator/pace", json={"tokens_per_second": -1}).status_code == 400
    assert httpx.post(f"{served.url}/_emulator/pace", json={"tokens_per_second": 0}).status_code == 200


async def test_a_client_that_leaves_stops_the_answer_and_the_log_says_how_far_it_came(served: Served) -> None:
    sdk = openai.AsyncOpenAI(api_key="sk-emulated", base_url=f"{served.url}/v1", max_retries=0)
    stream = await sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "lorem 5000"}], stream=True,
        extra_headers={"x-emulated-tokens-per-second": "500"},
    )
    text = ""
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if len(text) > 100:
            break
    await stream.close()
    for _ in range(200):
        if rows := log(served):
            break
        await asyncio.sleep(0.01)
    assert rows[0]["finish"] == "cut"
    assert tokens.count(text) <= rows[0]["completion_tokens"] < 1000


def test_a_wrong_key_is_refused_as_openai_does(served: Served) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(api_key="no", base_url=f"{served.url}/v1", max_retries=0).models.list()
    assert caught.value.code == "invalid_api_key"
    assert log(served) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": QUESTION}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": QUESTION, "max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_malformed_request_is_refused_and_not_logged(served: Served, body: dict, param: str) -> None:
    answer = httpx.post(
        f"{served.url}/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-emulated"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert log(served) == []


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["emulated-model"]


def test_a_lost_answer_is_in_the_log_all_the_same(served: Served, client: openai.OpenAI) -> None:
    served.world.faults.switch_on("llm", Fault.LOST_ANSWER, times=1)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=QUESTION)
    assert [row["finish"] for row in log(served)] == ["stop"]


@pytest.mark.parametrize(
    ("instruction", "check"),
    [
        ("Write a short title for this conversation.", lambda text: len(text.split()) <= 6),
        ("Suggest three follow-up questions, one per line.", lambda text: text.count("?") == 3),
        ("Summarise the conversation.", lambda text: text.startswith("The conversation was about")),
    ],
)
def test_side_calls_are_answered_as_such(client: openai.OpenAI, instruction: str, check) -> None:
    messages = [{"role": "system", "content": instruction}, *QUESTION]
    answer = client.chat.completions.create(model="m", messages=messages)
    assert check(answer.choices[0].message.content)


@pytest.mark.parametrize("text", ["", "a", "Ünïcödé  und\n\nmehr…", "| a | b_c |", "日本語テキスト", "\t x 12345678"])
def test_the_tokenizer_loses_nothing_and_never_counts_more_than_bytes(text: str) -> None:
    assert "".join(tokens.split(text)) == text
    assert tokens.count(text) <= len(text.encode())


def test_marked_filler_tells_which_token_each_mark_is_and_when_it_was_sent(
    served: Served, client: openai.OpenAI
) -> None:
    plain, marked = lorem.text(900), lorem.text(900, marked=True)
    marks = re.findall(r"q(\d{4})z", marked)
    assert len(marks) > 40
    assert tokens.count(marked) == tokens.count(plain) == 900
    assert all(tokens.split(marked)[int(mark)] == f" q{mark}z" for mark in marks)
    stream = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "lorem 900 marked"}], stream=True,
        extra_headers={"x-emulated-tokens-per-second": "9000"})
    began = time.time()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == marked
    chunks = httpx.get(f"{served.url}/_emulator/sent").json()["streams"][-1]["chunks"]
    assert [until for _, until in chunks] == sorted({until for _, until in chunks})
    assert chunks[-1][1] == 900
    assert began - 5 < chunks[0][0] <= chunks[-1][0] < time.time()
