"""What the emulated model understands of a request: the question, what was asked before, and what tools have found."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from emulators.llm.tokens import text_of

_WORD = re.compile(r"[a-zA-Z][a-zA-Z0-9'-]*|\d+(?:[.,]\d+)*%?")
_STOP = frozenset(_WORD.findall(
    "a about above after again all also am an and any are as at be because been before being below between both but "
    "by can chart code compare compute could calculate describe did do does doing done down draw during each explain "
    "few find for from further get give graph had has have having he her here him his how i if in into is it its just "
    "know let like list look make many me more most much my no nor not now of off on once one only or other our out "
    "over own please plot python research same say search see she should show so some such summarise summarize "
    "table tell than that the their them then there these they thing this those through to today too under until up "
    "us use using very want was we well were what what's when where which while who why will with work works would "
    "write you your"
))
_MARKER = re.compile(r"^\s*(?:[-*]\s*)?\[(\d+)\]:?\s*(.*)$")
_ANAPHORA = re.compile(
    r"\b(it|its|that|this|these|those|they|them|there|instead|same|again|one)\b|^(and|what about|how about|why)\b", re.I
)


@dataclass(frozen=True)
class Source:
    """One numbered source out of a search tool's result."""

    number: int
    title: str
    text: str


@dataclass(frozen=True)
class ToolResult:
    """What one tool call of the present turn brought, and the arguments that it was called with."""

    name: str
    arguments: dict[str, Any]
    content: str


@dataclass(frozen=True)
class Conversation:
    """A request's messages, read.

    Attributes:
        system: all system and developer messages, joined.
        question: the last user message.
        earlier: the user messages before it, oldest first.
        results: the results of tools since the last user message.
        sources: the numbered sources that this turn has found; numbers of earlier turns mean nothing any more.
    """

    system: str
    question: str
    earlier: tuple[str, ...]
    results: tuple[ToolResult, ...]
    sources: tuple[Source, ...]

    @property
    def follows_up(self) -> bool:
        """Whether the question can only be understood from the one before it."""
        if not self.earlier:
            return False
        return bool(_ANAPHORA.search(self.question)) or len(key_terms(self.question)) < 2

    @property
    def topic(self) -> list[str]:
        """The terms that the question is about, with those of the question before it if it follows up."""
        terms = key_terms(self.question)
        if self.follows_up:
            terms += [term for term in key_terms(self.earlier[-1]) if term.lower() not in {t.lower() for t in terms}]
        return terms

    def has_result_of(self, tool: str) -> bool:
        """Whether the tool has already answered in this turn."""
        return any(result.name == tool for result in self.results)


def read(messages: list[dict[str, Any]]) -> Conversation:
    """Read a request's messages."""
    users = [at for at, message in enumerate(messages) if message["role"] == "user"]
    last = users[-1] if users else len(messages)
    results = _results(messages)
    present = [result for at, result in results if at > last]
    return Conversation(
        system="\n".join(text_of(m) for m in messages if m["role"] in ("system", "developer")),
        question=text_of(messages[last]).strip() if users else "",
        earlier=tuple(text_of(messages[at]).strip() for at in users[:-1]),
        results=tuple(present),
        sources=_sources(present),
    )


def key_terms(text: str) -> list[str]:
    """The words of a text that carry its meaning, in order, each once."""
    words = [word for word in _WORD.findall(text) if word.lower() not in _STOP]
    return list({word.lower(): word for word in reversed(words)}.values())[::-1]


def _results(messages: list[dict[str, Any]]) -> list[tuple[int, ToolResult]]:
    """All tool results with their positions; a result is matched with its call by the call's id."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    found = []
    for at, message in enumerate(messages):
        for call in message.get("tool_calls") or []:
            calls[call["id"]] = (call["function"]["name"], _object(call["function"]["arguments"]))
        if message["role"] == "tool":
            name, arguments = calls.get(message.get("tool_call_id", ""), ("", {}))
            found.append((at, ToolResult(name, arguments, text_of(message))))
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _sources(results: list[ToolResult]) -> tuple[Source, ...]:
    """The numbered sources in search results; of two with the same number, the first counts."""
    found: dict[int, Source] = {}
    for result in results:
        if "search" in result.name.lower():
            for source in _from_json(result.content) or _from_text(result.content):
                found.setdefault(source.number, source)
    return tuple(found.values())


def _from_json(content: str) -> list[Source]:
    """Read `[{"number": 1, "title": …, "content": …}]`, at any depth and under the usual names."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return []
    found: list[Source] = []

    def walk(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            number = next((node[key] for key in ("number", "n", "index", "id") if isinstance(node.get(key), int)), None)
            text = next((node[key] for key in ("content", "text", "snippet") if isinstance(node.get(key), str)), None)
            if number is not None and text is not None:
                found.append(Source(number, str(node.get("title", "")), text))
            else:
                for item in node.values():
                    walk(item)

    walk(value)
    return found


def _from_text(content: str) -> list[Source]:
    """Read `[1] Title (address)` lines, each followed by its text."""
    found: list[Source] = []
    for line in content.splitlines():
        if marker := _MARKER.match(line):
            title = re.sub(r"\s*[(<—–-]*\s*https?://\S+", "", marker[2]).strip()
            found.append(Source(int(marker[1]), title, ""))
        elif found and not re.fullmatch(r"\s*(?:url:?\s*)?<?https?://\S+\s*", line, re.I):
            last = found[-1]
            found[-1] = Source(last.number, last.title, f"{last.text}\n{line}".strip())
    return found
