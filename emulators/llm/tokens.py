"""The tokenizer of the emulated model: simple, deterministic and without loss, so that every count can be checked."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(r" ?[^\W_]{1,6}| ?[^\w\s]|_|\s")
MESSAGE_OVERHEAD = 4
"""Tokens that each message costs on top of its text, for its role and its limits."""
REPLY_OVERHEAD = 3
"""Tokens that open the model's reply."""


def split(text: str) -> list[str]:
    """Cut a text into tokens: up to six letters or digits, or one other sign, each with the space before it.

    `"".join(split(text)) == text`, and no token is empty, so there are never more tokens than UTF-8 bytes.
    """
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(split(text))


def count_prompt(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    """How many tokens a request has: every message's text and tool calls, and the tools' definitions as JSON."""
    total = REPLY_OVERHEAD
    for message in messages:
        total += MESSAGE_OVERHEAD + count(text_of(message))
        for call in message.get("tool_calls") or []:
            total += count(call["function"]["name"]) + count(call["function"]["arguments"])
    if tools:
        total += count(json.dumps(tools, ensure_ascii=False, separators=(",", ":")))
    return total


def text_of(message: dict[str, Any]) -> str:
    """A message's text, whether it is given as a string or as a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)
