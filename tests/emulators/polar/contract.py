"""Hold every answer of the emulator against Polar's OpenAPI document, and find the recordings."""

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[3]
URN = "urn:polar"


@cache
def contracts() -> Path:
    folder = (ROOT / os.environ.get("CONTRACTS_DIR", "../shared/contracts")).resolve()
    if not (folder / "polar-2026-10.openapi.json").exists():
        pytest.skip(f"Polar's OpenAPI document and recordings are not in {folder}: set CONTRACTS_DIR.")
    return folder


def recorded(name: str) -> list[dict]:
    return [json.loads(line) for line in (contracts() / "recorded" / name).read_text().splitlines()]


@cache
def document() -> dict:
    return _any_of(json.loads((contracts() / "polar-2026-10.openapi.json").read_text()))


def _any_of(node):
    """Alternatives are told apart by a discriminator, which JSON Schema ignores: several may fit, so one must."""
    if isinstance(node, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in node.items()}
    return [_any_of(value) for value in node] if isinstance(node, list) else node


@cache
def _registry() -> Registry:
    return Registry().with_resource(URN, DRAFT202012.create_resource(document()))


@cache
def _validator(pointer: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{URN}#{pointer}"}, registry=_registry())


def schema_problems(name: str, value) -> list[str]:
    return [f"{name}{error.json_path[1:]}: {error.message[:200]}"
            for error in _validator(f"/components/schemas/{name}").iter_errors(value)]


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """Path patterns, literal ones before those with parameters."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), path) for path in paths]


def answer_problems(method: str, path: str, status: int, body: bytes) -> list[str]:
    """What is wrong with an answer according to the document; nothing if the document is silent about that status."""
    template = next((name for pattern, name in _templates() if pattern.fullmatch(path)), None)
    if template is None:
        return [f"{method} {path}: the document knows no such path"]
    operation = document()["paths"][template].get(method.lower())
    if operation is None:
        return [f"{method} {path}: the document knows no such method"]
    content = operation["responses"].get(str(status), {}).get("content", {})
    if "application/json" not in content:
        allowed = status in {401, 413, 429, 500} or str(status) in operation["responses"]
        return [] if allowed else [f"{method} {path}: status {status} is not documented"]
    escaped = template.replace("~", "~0").replace("/", "~1")
    pointer = f"/paths/{escaped}/{method.lower()}/responses/{status}/content/application~1json/schema"
    return [f"{method} {path} {status} {error.json_path}: {error.message[:200]}"
            for error in _validator(pointer.replace("{", "%7B").replace("}", "%7D")).iter_errors(json.loads(body))]


class Checked:
    """ASGI middleware that notes everything in the API's answers that the document does not allow."""

    def __init__(self, app) -> None:
        self.app, self.problems, self.count = app, [], 0

    async def __call__(self, scope, receive, send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/polar/v1/"):
            await self.app(scope, receive, send)
            return
        status, parts = 0, []

        async def watch(message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, watch)
        self.count += 1
        self.problems += answer_problems(scope["method"], path.removeprefix("/polar"), status, b"".join(parts))
