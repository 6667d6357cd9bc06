"""The emulated model as an agent's model: search, then code, then an answer with citations."""

from collections.abc import Iterator

import httpx
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import FunctionToolCallEvent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.run import AgentRunResultEvent

from chatapp.clients.code import CodeResult
from chatapp.clients.monty import Monty
from emulators import llm
from tests.emulators.serving import Served, serving

FOUND = """[1] The fall of solar prices <https://library.example/solar>
Solar modules became about 90 percent cheaper within a decade.
Emissions in g CO2 per kWh: coal 820; gas 490; solar 45; wind 11.

[2] Heat pumps at home <https://library.example/heat-pumps>
A heat pump delivers about three units of heat for each unit of electricity."""


@pytest.fixture
def served(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("EMULATED_TOKENS_PER_SECOND", "100000")
    with serving(tmp_path, "llm", llm) as running:
        yield running


def model_of(served: Served) -> OpenAIChatModel:
    provider = OpenAIProvider(base_url=f"{served.url}/v1", api_key="sk-emulated")
    return OpenAIChatModel("emulated-model", provider=provider)


class Research:
    """An agent with the two tools, and what happened in it."""

    def __init__(self, served: Served) -> None:
        self.monty = Monty()
        self.runs: list[CodeResult] = []
        self.queries: list[str] = []
        self.found = FOUND
        self.agent = Agent(model_of(served))
        self.agent.tool_plain(self.search_web)
        self.agent.tool_plain(description=f"Run Python code. {self.monty.instructions}")(self.run_code)

    async def search_web(self, query: str) -> str:
        """Search the web for sources."""
        self.queries.append(query)
        return self.found

    async def run_code(self, code: str) -> str:
        self.runs.append(await self.monty.run(code, thread_id="t", timeout_seconds=5))
        figures = f"{len(self.runs[-1].figures)} figure(s) were drawn and are shown to the person."
        return f"{self.runs[-1].stdout}{self.runs[-1].error or ''}\n{figures}"

    async def ask(self, question: str, history=None):
        called, text = [], ""
        async with self.agent.run_stream_events(question, message_history=history) as events:
            async for event in events:
                if isinstance(event, FunctionToolCallEvent):
                    called.append(event.part.tool_name)
                elif isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                    text = event.part.content
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    text += event.delta.content_delta
                elif isinstance(event, AgentRunResultEvent):
                    result = event.result
        assert text == result.output
        return called, result


async def test_a_question_with_figures_is_searched_computed_and_answered_with_citations(served: Served) -> None:
    research = Research(served)
    called, result = await research.ask("Chart the emissions of solar and coal power")
    await research.monty.close()
    assert called == ["search_web", "run_code"]
    assert research.queries == ["emissions solar coal power"]
    assert research.runs[0].error is None
    assert research.runs[0].figures[0].x == ("coal", "gas", "solar", "wind")
    assert result.output.startswith("The largest is 74.5 times the smallest. ")
    assert "figure(s)" not in result.output
    assert "coal 820" in result.output
    assert "[1]" in result.output
    assert "```python" in result.output
    assert "| coal | 820 | 100% |" in result.output
    assert "o real model is connected" in result.output
    assert result.usage.requests == 3
    assert result.usage.input_tokens == sum(row["prompt_tokens"] for row in rows(served))
    assert result.usage.output_tokens == sum(row["completion_tokens"] for row in rows(served))


async def test_a_plain_question_is_searched_only(served: Served) -> None:
    research = Research(served)
    called, result = await research.ask("How does a heat pump work?")
    assert called == ["search_web"]
    assert result.output.startswith("A heat pump delivers about three units of heat for each unit of electricity. [2]")


async def test_a_greeting_needs_no_tool(served: Served) -> None:
    called, result = await Research(served).ask("Hello!")
    assert called == []
    assert result.output.startswith("Hello!")


async def test_a_follow_up_is_understood_from_the_question_before(served: Served) -> None:
    research = Research(served)
    _, first = await research.ask("How will $5,000 grow at 6% for 20 years?")
    called, second = await research.ask("And at 8%?", first.all_messages())
    await research.monty.close()
    assert called == ["search_web", "run_code"]
    assert "16,035.68" in first.output
    assert r"$A = P\,(1 + r)^{n}$" in first.output
    assert "23,304.79" in second.output
    assert second.output.startswith("Following on from")


@pytest.mark.parametrize(
    ("question", "printed"),
    [
        ("What is 15% of 240?", "is 36;"),
        ("Compute (2+3)*4 - 7^2", "= -29"),
        ("Show the first 25 primes", "sum is 1060"),
        ("Fibonacci numbers in Python, 10 terms", "0, 1, 1, 2, 3, 5, 8, 13, 21, 34"),
        ("Calculate the average of 3, 5, 8 and 16", "| Mean | 8 |"),
        ("Calculate a mortgage of $200,000 over 30 years at 3.5%", "| Monthly payment | 898.09 |"),
        ("Plot something about unicorns", "unicorns | 0 |"),
    ],
)
async def test_programs_compute_what_the_question_asks(served: Served, question: str, printed: str) -> None:
    research = Research(served)
    if "unicorns" in question:  # without a list of figures, it counts words
        research.found = FOUND.replace(";", ",")
    await research.ask(question)
    await research.monty.close()
    assert research.runs[0].error is None
    assert printed in research.runs[0].stdout


async def test_a_typed_output_is_filled_in(served: Served) -> None:
    class Title(BaseModel):
        title: str
        questions: list[str]

    result = await Agent(model_of(served), output_type=Title).run("Why did solar energy become cheap?")
    assert result.output.title == "Solar energy become cheap"
    assert len(result.output.questions) == 3


def rows(served: Served) -> list[dict]:
    return httpx.get(f"{served.url}/_emulator/log").json()["requests"]


async def test_without_tools_it_says_that_it_has_no_sources_and_cites_none(served: Served) -> None:
    research = Research(served)
    _, first = await research.ask("How does a heat pump work?")
    second = await Agent(model_of(served)).run("And why is it efficient?", message_history=first.all_messages())
    assert "I have no sources" in second.output
    assert "[1]" not in second.output
