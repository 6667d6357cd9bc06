"""How Polar refuses: its error answers as exceptions, which end the request's transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import ValidationError


class Refused(Exception):
    """An error answer: HTTP status and JSON body. Whatever the request had written is rolled back."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body, headers or {}


class ServerFailure(Exception):
    """The real server fails on this request with a bare 500; so does this one."""


def named(status: int, error: str, detail: str) -> Refused:
    """An error with a name and a sentence, such as `NotOpenCheckout`."""
    return Refused(status, {"error": error, "detail": detail})


def not_found() -> Refused:
    """404 as for any resource that does not exist."""
    return named(404, "ResourceNotFound", "Not found")


def invalid(
    loc: tuple[str | int, ...], message: str, value: object, *, kind: str = "value_error", within: str = "body"
) -> Refused:
    """422 for one value that is well-formed and yet cannot be accepted; `loc` starts below the body, or the query."""
    detail = [{"type": kind, "loc": [within, *loc], "msg": message, "input": value}]
    return Refused(422, {"error": "PolarRequestValidationError", "detail": detail})


def _plain(value: object) -> object:
    """A value of an error's context as it stands on the wire: an exception is an empty object there."""
    if isinstance(value, Exception):
        return {}
    return float(value) if isinstance(value, Decimal) and value % 1 else int(value) if isinstance(
        value, Decimal) else value


def malformed(error: ValidationError, *prefix: str) -> Refused:
    """422 for a request that does not have the documented form: one detail per problem."""
    detail = []
    for problem in error.errors(include_url=False):
        entry: dict[str, Any] = {"type": problem["type"], "loc": [*prefix, *problem["loc"]], "msg": problem["msg"],
                                 "input": problem["input"]}
        if "ctx" in problem:
            entry["ctx"] = {key: _plain(value) for key, value in problem["ctx"].items()}
        detail.append(entry)
    return Refused(422, {"error": "RequestValidationError", "detail": detail})
