"""Holding requests and answers against the vendors' OpenAPI documents."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def contracts_directory() -> Path:
    """Where the documents lie; skips the test where they are absent."""
    directory = (ROOT / os.environ.get("CONTRACTS_DIR", "../shared/contracts")).resolve()
    if not directory.is_dir():
        pytest.skip(f"the vendors' interface documents are not at {directory} (set CONTRACTS_DIR)")
    return directory


@cache
def document(name: str) -> dict[str, Any]:
    """A parsed document."""
    text = (contracts_directory() / name).read_text()
    loaded: dict[str, Any] = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    return loaded


class Contract:
    """One vendor's document, asked about single exchanges."""

    def __init__(self, name: str) -> None:
        self.document = document(name)

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """The described operation, literal paths before templates, or None."""
        for template in sorted(self.document["paths"], key=lambda t: t.count("{")):
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
                found: dict[str, Any] | None = self.document["paths"][template].get(method.lower())
                if found is not None:
                    return found
        return None

    def check_request(self, method: str, path: str, body: object) -> bool:
        """Validate a request body. True if the document has a schema for it."""
        operation = self.operation(method, path) or {}
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        return self._check(schema, body)

    def check_answer(self, method: str, path: str, status: int, body: object) -> bool:
        """Validate an answer's body. True if the document has a schema for this status."""
        responses = (self.operation(method, path) or {}).get("responses", {})
        response = self._resolved(responses.get(status) or responses.get(str(status)) or {})
        return self._check(response.get("content", {}).get("application/json", {}).get("schema"), body)

    def _check(self, schema: dict[str, Any] | None, body: object) -> bool:
        if schema is None:
            return False
        rooted = _any_of({**schema, "components": self.document["components"]})
        validator = jsonschema.Draft202012Validator(rooted, format_checker=jsonschema.FormatChecker())
        faults = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]
        assert faults == [], faults
        return True

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in value:
            return value
        found: Any = self.document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _any_of(schema: Any) -> Any:
    """The schema with `anyOf` for `oneOf`: the documents' alternatives require no property, so most values fit all."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
    return [_any_of(item) for item in schema] if isinstance(schema, list) else schema
