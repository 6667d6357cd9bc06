"""What the emulated model does next: search, then compute, then answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from emulators.llm import conversation as reading
from emulators.llm import figures, lorem, programs, prose, structured
from emulators.llm.conversation import Conversation

_SEARCH = re.compile(r"search", re.I)
_CODE = re.compile(r"code|python", re.I)
_AT_ONCE = re.compile(r"\bwith ([2-9]) searches at once\b", re.I)
_LONGEST_SIDE_INSTRUCTION = 1_000
"""In characters: what is longer instructs an agent, whatever words it has."""


@dataclass(frozen=True)
class ToolCall:
    """A call of one of the offered tools; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Turn:
    """What the model says: a text, or tool calls.

    Attributes:
        breaks: its stream breaks off in the middle.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    breaks: bool = False


def decide(messages: list[dict[str, Any]], tools: list[dict[str, Any]], tool_choice: object) -> Turn:
    """The model's next turn.

    The message `lorem 2000` is answered with exactly that many tokens of filler. Requests without tools for a title,
    follow-up questions or a summary are answered as such. Otherwise: one call of a tool whose name has `search` in it;
    one call of a tool whose name has `code` or `python` in it, if the question has to do with numbers; then the answer.
    A question `with 3 searches at once` gets these calls, and that of the code, all in one message.
    """
    conversation = reading.read(messages)
    if (filler := lorem.asked(conversation)) is not None:
        return Turn(filler, breaks=lorem.breaks(conversation))
    functions = {tool["function"]["name"]: tool["function"] for tool in tools} if tool_choice != "none" else {}
    if forced := _forced(functions, tool_choice, conversation):
        return forced
    if not functions and (side := _side_call(conversation)):
        return Turn(side)
    if calls := _research(functions, conversation):
        return Turn(calls=calls)
    formula = ""
    if any(_CODE.search(result.name) for result in conversation.results):
        formula = programs.write(conversation, figures.Drawing.NONE).formula
    return Turn(prose.answer(conversation, formula))


def _research(functions: dict[str, Any], conversation: Conversation) -> tuple[ToolCall, ...]:
    """The next tool calls that the question still needs."""
    if prose.is_greeting(conversation.question) or not conversation.question:
        return ()
    at_once = _AT_ONCE.search(conversation.question)
    calls: list[ToolCall] = []
    search = next((name for name in functions if _SEARCH.search(name)), None)
    if search and not conversation.has_result_of(search):
        query = " ".join(conversation.topic[:12]) or conversation.question
        queries = [f"{query} {number}" for number in range(int(at_once[1]))] if at_once else [query]
        calls += [_call(functions[search], "query", each, conversation) for each in queries]
    code = next((name for name in functions if _CODE.search(name)), None)
    if (at_once or not calls) and code and not conversation.has_result_of(code) and programs.wanted(conversation):
        drawing = figures.offered(f"{functions[code].get('description', '')} {conversation.system}")
        calls.append(_call(functions[code], "code", programs.write(conversation, drawing).source, conversation))
    return tuple(calls)


def _forced(functions: dict[str, Any], tool_choice: object, conversation: Conversation) -> Turn | None:
    """A call that the request insists on: of a named tool, or of any (then of one that takes the final result)."""
    name: str | None = None
    if isinstance(tool_choice, dict):
        name = tool_choice.get("function", {}).get("name")
    elif tool_choice == "required" and functions:
        if calls := _research(functions, conversation):
            return Turn(calls=calls)
        name = next((name for name in functions if "final" in name), next(iter(functions)))
    if name not in functions:
        return None
    arguments = structured.fill(functions[name].get("parameters", {}), conversation)
    return Turn(calls=(ToolCall(name, json.dumps(arguments, ensure_ascii=False)),))


def _side_call(conversation: Conversation) -> str | None:
    """The answer to a request for a title, for follow-up questions or for a summary; None for any other."""
    if conversation.results or len(conversation.system) > _LONGEST_SIDE_INSTRUCTION:
        return None
    instruction = (conversation.system or conversation.question[:200]).lower()
    if not re.search(r"\b(title|follow-?ups?|summar\w+)\b", instruction):
        return None
    if "title" in instruction:
        return prose.title(conversation)
    if "follow" in instruction:
        lines = prose.follow_ups(conversation)
        return json.dumps(lines) if "json" in instruction else "\n".join(lines)
    return prose.summary(conversation)


def _call(function: dict[str, Any], preferred: str, text: str, conversation: Conversation) -> ToolCall:
    """A call with the text in the tool's main property, and whatever else the tool requires."""
    schema = function.get("parameters", {})
    arguments = structured.fill(schema, conversation) | {structured.text_property(schema, preferred): text}
    return ToolCall(function["name"], json.dumps(arguments, ensure_ascii=False))
