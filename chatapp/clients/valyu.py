"""Valyu: searching the web and paid collections, and reading pages, with the exact price of each call.

The SDK never raises, and it reports a failure as free although its answer may say that money was charged. So it runs
over an HTTP client of ours that keeps every raw answer, and what happened and what it cost is read from there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from valyu import AsyncValyu  # type: ignore[import-untyped]  # it ships no py.typed

from chatapp.billing import rates
from chatapp.clients.valyu_exchange import Exchange, RecordingClient, decimal

SearchType = Literal["all", "web", "proprietary", "news"]

PAGE_PRICE_USD = rates.VALYU_PAGE_USD
MAX_PAGES = 10
"""How many pages one call of `contents` may name."""


@dataclass(frozen=True)
class Source:
    """One search result.

    Attributes:
        title: as the publisher gives it.
        url: an http or https address; empty if the source has none.
        text: the passage that was found; structured data is given as JSON.
        publisher: Valyu's name of the collection, or `web`.
        published: the date as the source gives it, or None.
        price_usd: the part of the search's cost that this source makes.
    """

    title: str
    url: str
    text: str
    publisher: str
    published: str | None
    price_usd: Decimal


@dataclass(frozen=True)
class SearchResult:
    """What a search found and cost; `exact` is False where the answer names no price and the cap is assumed."""

    sources: tuple[Source, ...]
    cost_usd: Decimal
    exact: bool


@dataclass(frozen=True)
class Page:
    """One page that was asked for: its text, or why it could not be read."""

    url: str
    title: str
    text: str
    error: str | None


@dataclass(frozen=True)
class ContentsResult:
    """Pages in the order of Valyu's answer, and their cost; `exact` as in SearchResult."""

    pages: tuple[Page, ...]
    cost_usd: Decimal
    exact: bool


def max_cost_usd(max_results: int, max_price_usd_per_thousand: int) -> Decimal:
    """The most that a search with these limits can cost, for a hold."""
    return Decimal(max_results) * max_price_usd_per_thousand / 1000


def max_contents_cost_usd(pages: int) -> Decimal:
    """The most that reading so many pages can cost, for a hold."""
    return PAGE_PRICE_USD * pages


class Valyu:
    """The client. It never retries: that is for whoever pays to decide."""

    def __init__(self, *, base_url: str, key: str, timeout_seconds: float) -> None:
        """Build the client; nothing is sent.

        Args:
            base_url: with the version, `https://api.valyu.ai/v1`.
            key: the API key.
            timeout_seconds: for each step of a request (connecting, sending, waiting for the next bytes).
        """
        self._http = RecordingClient(timeout=timeout_seconds)
        self._sdk = AsyncValyu(api_key=key, base_url=base_url, http_client=self._http, max_rate_limit_retries=0)

    async def search(
        self,
        query: str,
        *,
        max_results: int,
        max_price_usd_per_thousand: int,
        search_type: SearchType = "all",
    ) -> SearchResult:
        """Search. At most `max_cost_usd(max_results, max_price_usd_per_thousand)` is spent.

        Raises:
            Unavailable: no answer, 429 or 5xx; if `may_have_run`, it may have been charged.
            Rejected: refused, or failed and charged (`cost_usd`).
        """
        exchange = Exchange()
        with exchange:
            await self._sdk.search(
                query,
                search_type=search_type,
                max_num_results=max_results,
                max_price=max_price_usd_per_thousand,
                is_tool_call=True,
            )
        body, cost = exchange.outcome("total_deduction_dollars")
        sources = tuple(_source(result) for result in body.get("results") or [])
        return SearchResult(
            sources=sources,
            cost_usd=max_cost_usd(max_results, max_price_usd_per_thousand) if cost is None else cost,
            exact=cost is not None,
        )

    async def contents(self, urls: list[str]) -> ContentsResult:
        """Read up to MAX_PAGES pages. At most `max_contents_cost_usd(len(urls))` is spent.

        Raises:
            ValueError: no address, or too many.
            Unavailable: as for `search`.
            Rejected: as for `search`.
        """
        if not 1 <= len(urls) <= MAX_PAGES:
            raise ValueError(f"1 to {MAX_PAGES} addresses can be read at once, not {len(urls)}")
        cap = max_contents_cost_usd(len(urls))
        exchange = Exchange()
        with exchange:
            await self._sdk.contents(urls, max_price_dollars=float(cap))  # the SDK's own type
        body, cost = exchange.outcome("total_cost_dollars")
        pages = tuple(_page(result) for result in body.get("results") or [])
        return ContentsResult(pages, cap if cost is None else cost, exact=cost is not None)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _source(result: dict[str, Any]) -> Source:
    url = str(result.get("url") or "")
    return Source(
        title=str(result.get("title") or ""),
        url=url if url.startswith(("http://", "https://")) else "",
        text=_text(result.get("content")),
        publisher=str(result.get("source") or ""),
        published=result.get("publication_date"),
        price_usd=decimal(result.get("price")) or Decimal(0),
    )


def _page(result: dict[str, Any]) -> Page:
    failed = result.get("status") == "failed"
    return Page(
        url=str(result.get("url") or ""),
        title=str(result.get("title") or ""),
        text="" if failed else _text(result.get("content")),
        error=str(result.get("error") or "unknown") if failed else None,
    )


def _text(content: object) -> str:
    if content is None:
        return ""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
