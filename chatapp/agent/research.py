"""One turn: from a question to its answer, as events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator

from pydantic_ai import Agent, RunContext
from pydantic_ai.agent import AgentRunEvents
from pydantic_ai.exceptions import AgentRunError, ContentFilterError, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
)
from pydantic_ai.run import AgentRunResult, AgentRunResultEvent
from pydantic_ai.usage import UsageLimits

from chatapp.agent import history, prompt
from chatapp.agent.errors import AnswerFailed, as_answer_failed
from chatapp.agent.events import (
    CodeFinished,
    CodeStarted,
    Event,
    Finished,
    SearchFinished,
    SearchStarted,
    Source,
    TextDelta,
    Thinking,
)
from chatapp.agent.run import MAX_REQUESTS, ResearchDeps, Run
from chatapp.agent.tool_meter import ToolMeter
from chatapp.agent.tools import Outcome, run_code, search
from chatapp.text import storable

__all__ = ["AnswerFailed", "Event", "Finished", "ResearchDeps", "Source", "answer"]

LIMITS = UsageLimits(request_limit=MAX_REQUESTS + 2)
"""The second brake: the first are the tools that are withdrawn at MAX_REQUESTS."""

_log = logging.getLogger(__name__)


def _instructions(ctx: RunContext[Run]) -> str:
    return prompt.instructions(ctx.deps.deps.now().date())


AGENT = Agent(
    deps_type=Run, name="research", instructions=_instructions, tools=[search, run_code], capabilities=[ToolMeter()],
    retries={"tools": 3, "output": 2},
)


async def answer(question: str, *, history_json: str, deps: ResearchDeps) -> AsyncGenerator[Event, None]:
    """Answer a question; the last event is `Finished`.

    Whoever reads must read on or close (`contextlib.aclosing`): the model waits for the reader. Cancelling the
    reader's task, or closing the iterator, stops the turn; everything that was used is then in the ledger and no
    hold is left.

    Args:
        question: what the person wrote.
        history_json: the thread's earlier turns, from `history.join`; empty for none.
        deps: what the turn works with, and on whose account.

    Raises:
        UnpricedModel: nothing was called.
        InsufficientFunds: the next step could not be afforded; what came before it is paid.
        AnswerFailed: the model failed; each of these three carries the person's `text`.
    """
    run, text = Run(deps), _Text()
    earlier, done = history.load(history_json), list[ModelMessage]()
    for asked in (question, prompt.ANSWER_NOW):
        stream: AgentRunEvents[str] | None = None
        try:
            async with AGENT.run_stream_events(
                asked, message_history=[*earlier, *done], model=run.model, deps=run, usage_limits=LIMITS
            ) as stream:
                async for event in stream:
                    if isinstance(event, AgentRunResultEvent):
                        yield _end(event.result, done, text)
                        return
                    for shown in _shown(event, text):
                        yield shown
        except AgentRunError as error:
            _log.warning("Turn %s came to no answer.", deps.turn_id, exc_info=error)
            if stream is None or run.winding_down or not _leaves_a_way_on(error):
                raise as_answer_failed(error) from error
            # One more request, without tools, makes an answer of what the turn has found.
            run.winding_down = True
            done += _usable(stream.new_messages())


def _leaves_a_way_on(error: AgentRunError) -> bool:
    """Whether the model answered, but with something unusable, or went round in circles."""
    return isinstance(error, UnexpectedModelBehavior | UsageLimitExceeded) and not isinstance(error, ContentFilterError)


def _usable(messages: list[ModelMessage]) -> list[ModelMessage]:
    """Without the answer that could not be used: a vendor may refuse to read a call that was cut off."""
    return messages[:-1] if messages and isinstance(messages[-1], ModelResponse) else messages


class _Text:
    """The turn's text so far. Its parts are separated by an empty line."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def __str__(self) -> str:
        return "\n\n".join(part for part in (part.strip() for part in self._parts) if part)

    def begin(self) -> None:
        self._parts.append("")

    def add(self, text: str) -> Iterator[TextDelta]:
        text = storable(text)
        if text:
            self._parts[-1] += text
            yield TextDelta(text)


def _shown(event: AgentStreamEvent, text: _Text) -> Iterator[Event]:
    """What the page gets to know of an event of the run."""
    match event:
        case PartStartEvent(part=TextPart(content=content)):
            text.begin()
            yield from text.add(content)
        case PartDeltaEvent(delta=TextPartDelta(content_delta=content)):
            yield from text.add(content)
        case PartStartEvent(part=ThinkingPart()):
            yield Thinking()
        case FunctionToolCallEvent():
            yield from _started(event)
        case FunctionToolResultEvent():
            yield from _finished(event)


def _started(event: FunctionToolCallEvent) -> Iterator[Event]:
    if not event.args_valid:  # the model is told and calls again
        return
    arguments = event.part.args_as_dict()
    if event.part.tool_name == search.__name__:
        yield SearchStarted(event.tool_call_id, arguments["query"])
    else:
        yield CodeStarted(event.tool_call_id, arguments["code"])


def _finished(event: FunctionToolResultEvent) -> Iterator[Event]:
    outcome = event.part.metadata
    if not isinstance(outcome, Outcome):
        return
    if event.part.tool_name == search.__name__:
        yield SearchFinished(event.tool_call_id, outcome.sources, outcome.error)
    else:
        ran = outcome.code
        yield CodeFinished(event.tool_call_id, ran.stdout if ran else "", ran.error if ran else outcome.error,
                           outcome.figures)


def _end(result: AgentRunResult[str], done: list[ModelMessage], text: _Text) -> Finished:
    messages = [*done, *result.new_messages()]
    last = next(message for message in reversed(messages) if isinstance(message, ModelResponse))
    return Finished(history.dump(messages), str(text), shortened=last.finish_reason == "length")
