"""Valyu's stand-in: `POST /valyu/v1/search` and `POST /valyu/v1/contents` over a small library of its own.

Prices, `max_price` (dollars per thousand retrievals) and `max_num_results` are as in the real service. Two queries make
it fail: one that contains `emulate charged failure` is answered with 500 although money was charged, as the real
service may; one that contains `emulate no credit` with 402. `GET /valyu/_emulator/log` lists what was answered and
charged (`{"requests": […]}`, oldest first).
"""

from __future__ import annotations

import json
from decimal import Decimal
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulators.valyu import answers
from emulators.valyu.library import PRICES_USD_PER_THOUSAND, Document, load
from emulators.valyu.ranking import Index

if TYPE_CHECKING:
    from emulators.world import World

PAGE_PRICE_USD = Decimal("0.001")
DEFAULT_MAX_PRICE = 30
_LENGTHS = {"short": 25_000, "medium": 50_000, "large": 100_000}
_KINDS = {"all": set(PRICES_USD_PER_THOUSAND), "web": {"web"}, "proprietary": {"open", "finance"}, "news": set[str]()}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS valyu_request (
    tx_id TEXT PRIMARY KEY, at TEXT NOT NULL, endpoint TEXT NOT NULL, query TEXT NOT NULL, status INTEGER NOT NULL,
    results INTEGER NOT NULL, cost_usd TEXT NOT NULL);
"""


def routes(world: World) -> list[BaseRoute]:
    """The API and the emulator's own log."""
    valyu = _Valyu(world)
    return [
        Route("/v1/search", valyu.search, methods=["POST"]),
        Route("/v1/contents", valyu.contents, methods=["POST"]),
        Route("/_emulator/log", valyu.log_rows, methods=["GET"]),
    ]


class _Valyu:
    """The endpoints over one index and one log."""

    def __init__(self, world: World) -> None:
        self._world = world
        documents = load()
        self._index = Index(documents)
        self._by_url = {doc.url: doc for doc in documents}
        world.store.create(_SCHEMA)

    async def search(self, request: Request) -> Response:
        """`POST /v1/search`."""
        tx_id = f"tx_{uuid4()}"
        body, refusal = await self._body(request, tx_id)
        if refusal:
            return refusal
        query, limit, max_price = body.get("query"), body.get("max_num_results", 10), body.get("max_price")
        if problem := _search_problem(body):
            return answers.failure(400, tx_id, problem)
        query = str(query)
        ceiling = Decimal(str(DEFAULT_MAX_PRICE if max_price is None else max_price))
        found = [
            (doc, relevance)
            for doc, relevance in self._index.find(query)
            if doc.price_usd * 1000 <= ceiling and doc.kind in _KINDS[body.get("search_type", "all")]
        ][:limit]
        cost = answers.total(doc for doc, _ in found)
        if "emulate no credit" in query:
            return self._failed(402, tx_id, query, "Insufficient credits", Decimal(0))
        if "emulate charged failure" in query:
            return self._failed(500, tx_id, query, "Search failed after retrieval", max(cost, Decimal("0.0015")))
        self._log(tx_id, "search", query, 200, len(found), cost)
        return JSONResponse(answers.search(tx_id, query, found, _cut(body)))

    async def contents(self, request: Request) -> Response:
        """`POST /v1/contents`."""
        tx_id = f"tx_{uuid4()}"
        body, refusal = await self._body(request, tx_id)
        if refusal:
            return refusal
        urls = body.get("urls")
        if not isinstance(urls, list) or not 1 <= len(urls) <= 10 or not all(isinstance(url, str) for url in urls):
            return answers.failure(400, tx_id, "urls must be a list of 1 to 10 addresses")
        pages: dict[str, Document | None] = {url: self._by_url.get(url) for url in urls}
        cost = PAGE_PRICE_USD * sum(page is not None for page in pages.values())
        if (ceiling := body.get("max_price_dollars")) is not None and cost > Decimal(str(ceiling)):
            return answers.failure(400, tx_id, "The request would cost more than max_price_dollars")
        self._log(tx_id, "contents", " ".join(urls), 200, len(pages), cost)
        return JSONResponse(answers.contents(tx_id, pages, PAGE_PRICE_USD, _cut(body)))

    async def log_rows(self, _: Request) -> Response:
        """`GET /_emulator/log`."""
        with self._world.store.transaction() as db:
            rows = [dict(row) for row in db.execute("SELECT * FROM valyu_request ORDER BY rowid")]
        return JSONResponse({"requests": rows})

    async def _body(self, request: Request, tx_id: str) -> tuple[dict[str, Any], Response | None]:
        """The request's JSON object, or the refusal of a wrong key or of anything else."""
        given = request.headers.get("x-api-key", "")
        if not compare_digest(given.encode(), self._world.config.keys["valyu"].encode()):
            return {}, answers.failure(401, tx_id, "Invalid or missing API key")
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            return {}, answers.failure(400, tx_id, "The body must be a JSON object")
        return body, None

    def _failed(self, status: int, tx_id: str, query: str, message: str, cost: Decimal) -> Response:
        self._log(tx_id, "search", query, status, 0, cost)
        return answers.failure(status, tx_id, message, total_deduction_dollars=float(cost))

    def _log(self, tx_id: str, endpoint: str, query: str, status: int, results: int, cost: Decimal) -> None:
        row = (tx_id, self._world.clock.now().isoformat(), endpoint, query, status, results, f"{cost:f}")
        with self._world.store.transaction() as db:
            db.execute("INSERT INTO valyu_request VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _search_problem(body: dict[str, Any]) -> str | None:
    """What is wrong with a search's body; None if nothing."""
    limit, max_price = body.get("max_num_results", 10), body.get("max_price", 0)
    if not isinstance(body.get("query"), str) or not body["query"].strip():
        return "query is required"
    if not isinstance(limit, int) or not 1 <= limit <= 20:
        return "max_num_results must be between 1 and 20"
    if isinstance(max_price, bool) or not isinstance(max_price, int | float):
        return "max_price must be a number"
    if body.get("search_type", "all") not in _KINDS:
        return f"search_type must be one of {', '.join(_KINDS)}"
    return None


def _cut(body: dict[str, Any]) -> int | None:
    """The most characters of a text that the request wants."""
    length = body.get("response_length")
    return length if isinstance(length, int) else _LENGTHS.get(str(length))
