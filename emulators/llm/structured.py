"""Answers in a given shape: arguments that fit a JSON schema, made from the conversation."""

from __future__ import annotations

from typing import Any

from emulators.llm.conversation import Conversation
from emulators.llm.prose import follow_ups, summary, title


def fill(schema: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    """An object with all required properties of an object schema, each with a value of its type."""
    definitions = schema.get("$defs", {})
    properties = schema.get("properties", {})
    wanted = schema.get("required", list(properties))
    return {name: _value(name, properties.get(name, {}), definitions, conversation) for name in wanted}


def text_property(schema: dict[str, Any], preferred: str) -> str:
    """The name of the property that takes a tool's main text: the preferred one, else the first string."""
    properties = schema.get("properties", {})
    if preferred in properties:
        return preferred
    return next((name for name, rule in properties.items() if rule.get("type") == "string"), preferred)


def _value(name: str, rule: dict[str, Any], definitions: dict[str, Any], conversation: Conversation) -> object:
    if "$ref" in rule:
        rule = definitions.get(rule["$ref"].rsplit("/", 1)[-1], {})
    if "default" in rule:
        return rule["default"]
    if "enum" in rule:
        return rule["enum"][0]
    if rule.get("anyOf"):
        return _value(name, rule["anyOf"][0], definitions, conversation)
    kind = rule.get("type", "string")
    if kind == "object":
        return fill({"$defs": definitions, **rule}, conversation)
    if kind == "array":
        if rule.get("items", {}).get("type", "string") == "string":
            return follow_ups(conversation)[: rule.get("maxItems", 3)]
        return [_value(name, rule["items"], definitions, conversation)] * max(1, rule.get("minItems", 1))
    if kind in ("integer", "number"):
        return rule.get("minimum", 1)
    if kind == "boolean":
        return True
    return summary(conversation) if "summar" in name else title(conversation)
