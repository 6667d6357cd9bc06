"""The frame around every API call: body limit, token, rate limit, one transaction, and errors as Polar answers them."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.polar.context import Polar
from emulators.polar.errors import Refused, ServerFailure, malformed, not_found
from emulators.polar.tables import Document

Model = TypeVar("Model", bound=BaseModel)
LARGEST_PAGE = 100


@dataclass(frozen=True)
class Call:
    """One request: its path parameters, its query and its JSON body (None if there is none)."""

    polar: Polar
    path: dict[str, str]
    query: dict[str, list[str]]
    body: Any

    def read(self, model: type[Model]) -> Model:
        """The body as `model`; 422 with every problem if it does not fit."""
        try:
            return model.model_validate(self.body, context={"now": self.polar.now()})
        except ValidationError as error:
            raise malformed(error, "body") from error

    def one(self, name: str) -> str | None:
        """The last value of a query parameter, or None."""
        values = self.query.get(name)
        return values[-1] if values else None

    def flag(self, name: str) -> bool | None:
        """A boolean query parameter, or None."""
        value = self.one(name)
        return None if value is None else value.lower() in {"true", "1", "yes", "on"}

    def document(self, kind: str) -> Document:
        """The document that the path's `id` names; 404 if there is none, 422 if it is no UUID."""
        return find_or_404(self.polar, kind, self.path["id"])


Endpoint = Callable[[Call], Any]


def find_or_404(polar: Polar, kind: str, identifier: str) -> Document:
    """A document by id, as an endpoint finds it."""
    try:
        uuid.UUID(identifier)
    except ValueError as error:
        detail = [{"type": "uuid_parsing", "loc": ["path", "id"], "input": identifier, "ctx": {"error": str(error)},
                   "msg": f"Input should be a valid UUID, {error}"}]
        raise Refused(422, {"error": "RequestValidationError", "detail": detail}) from error
    found = polar.tables.get(kind, identifier)
    if found is None:
        raise not_found()
    return found


def page(call: Call, items: list[Any], show: Callable[[Any], Any]) -> Document:
    """One page of a list as Polar wraps it; only what is on the page is shown in full."""
    try:
        number, limit = int(call.one("page") or 1), min(int(call.one("limit") or 10), LARGEST_PAGE)
    except ValueError as error:
        raise Refused(422, _bad_page("int_parsing", "Input should be a valid integer", call)) from error
    if number < 1 or limit < 1:
        raise Refused(422, _bad_page("greater_than", "Input should be greater than 0", call))
    shown = items[(number - 1) * limit : number * limit]
    return {"items": [show(item) for item in shown],
            "pagination": {"total_count": len(items), "max_page": math.ceil(len(items) / limit)}}


def _bad_page(kind: str, message: str, call: Call) -> Document:
    name = "page" if call.one("page") is not None else "limit"
    detail = [{"type": kind, "loc": ["query", name], "msg": message, "input": call.one(name)}]
    return {"error": "RequestValidationError", "detail": detail}


def matching(items: Iterable[Document], call: Call, *fields: str) -> list[Document]:
    """The items that have one of the values asked for in each of the query parameters named."""
    kept = list(items)
    for name in fields:
        if values := call.query.get(name):
            kept = [item for item in kept if _text(item.get(name)) in values]
    return kept


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Api:
    """Makes Starlette routes from endpoints. Holds the times of the last minute's requests for the rate limit."""

    def __init__(self, polar: Polar) -> None:
        self.polar = polar
        self._times: deque[float] = deque()

    def route(self, method: str, path: str, endpoint: Endpoint, *, status: int = 200, public: bool = False) -> Route:
        """A route below `/v1`. `endpoint` runs in one transaction; `public` ones need no token."""

        async def handle(request: Request) -> Response:
            body = await request.body()
            try:
                self._limit(body)
                if not public:
                    self._authorize(request.headers.get("authorization"))
                return self._run(endpoint, request, body, status)
            except Refused as refused:
                return JSONResponse(refused.body, refused.status, refused.headers)
            except ServerFailure:
                return PlainTextResponse("Internal Server Error", 500)

        return Route(f"/v1{path}", handle, methods=[method])

    def limited(self) -> bool:
        """Count a request; True if there were too many in the last minute (of real time)."""
        now = time.monotonic()
        while self._times and self._times[0] <= now - 60:
            self._times.popleft()
        if len(self._times) >= self.polar.settings.requests_per_minute:
            return True
        self._times.append(now)
        return False

    def _run(self, endpoint: Endpoint, request: Request, body: bytes, status: int) -> Response:
        if self.limited():
            return Response(status_code=429, headers={"retry-after": "60"})
        query: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            query.setdefault(name, []).append(value)
        with self.polar.tables.store.transaction():
            answer = endpoint(Call(self.polar, dict(request.path_params), query, _json(body)))
        self.polar.rouse()
        if isinstance(answer, Response):
            return answer
        return Response(status_code=204) if status == 204 else JSONResponse(answer, status)

    def _limit(self, body: bytes) -> None:
        most = self.polar.settings.request_bytes
        if len(body) > most:
            detail = f"Request body exceeded the maximum allowed size of {most} bytes."
            raise Refused(413, {"error": "RequestBodyTooLarge", "detail": detail})

    def _authorize(self, header: str | None) -> None:
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, {"error": "Unauthorized", "detail": "Unauthorized"})
        if token != self.polar.world.config.keys["polar"]:
            description = "The access token provided is expired, revoked, malformed, or invalid for other reasons."
            raise Refused(401, {"error": "invalid_token", "error_description": description})


def _json(body: bytes) -> object:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        detail = [{"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {},
                   "ctx": {"error": str(error)}}]
        raise Refused(422, {"error": "RequestValidationError", "detail": detail}) from error
