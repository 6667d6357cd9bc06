"""The bodies of Valyu's answers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from starlette.responses import JSONResponse

from emulators.valyu.library import Document


def search(tx_id: str, query: str, found: list[tuple[Document, float]], cut: int | None) -> dict[str, Any]:
    """A successful search. `cut` is the most characters of each text, or None."""
    results = [_result(doc, relevance, cut) for doc, relevance in found]
    return {
        "success": True,
        "error": "" if results else "No results found",
        "tx_id": tx_id,
        "query": query,
        "results": results,
        "results_by_source": {
            "web": sum(doc.kind == "web" for doc, _ in found),
            "proprietary": sum(doc.kind != "web" for doc, _ in found),
        },
        "total_deduction_dollars": float(total(doc for doc, _ in found)),
        "total_characters": sum(result["length"] for result in results),
    }


def contents(tx_id: str, pages: dict[str, Document | None], page_price: Decimal, cut: int | None) -> dict[str, Any]:
    """The texts of addresses; those that there are not have failed and cost nothing."""
    results = [_page(url, doc, page_price, cut) for url, doc in pages.items()]
    good = sum(result["status"] == "success" for result in results)
    return {
        "success": True,
        "error": None,
        "tx_id": tx_id,
        "urls_requested": len(pages),
        "urls_processed": good,
        "urls_failed": len(pages) - good,
        "results": results,
        "total_cost_dollars": float(page_price * good),
        "total_characters": sum(result.get("length", 0) for result in results),
    }


def failure(status: int, tx_id: str, message: str, **more: object) -> JSONResponse:
    """An error answer; `more` has what else the body says, such as the money that was charged all the same."""
    return JSONResponse({"success": False, "error": message, "tx_id": tx_id, **more}, status_code=status)


def total(documents: Iterable[Document]) -> Decimal:
    """What retrieving documents costs."""
    return sum((doc.price_usd for doc in documents), Decimal(0))


def _result(doc: Document, relevance: float, cut: int | None) -> dict[str, Any]:
    text = doc.text[:cut]
    return {
        "id": doc.url,
        "title": doc.title,
        "url": doc.url,
        "content": text,
        "description": doc.text.split(". ", 1)[0] + ".",
        "source": "web" if doc.kind == "web" else f"emulated/{doc.kind}",
        "source_type": "website" if doc.kind == "web" else "article",
        "data_type": "unstructured",
        "price": float(doc.price_usd),
        "length": len(text),
        "relevance_score": relevance,
        "image_url": {},
    }


def _page(url: str, doc: Document | None, price: Decimal, cut: int | None) -> dict[str, Any]:
    if doc is None:
        return {"url": url, "status": "failed", "error": "The page could not be fetched"}
    text = f"# {doc.title}\n\n{doc.text}"[:cut]
    return {
        "url": url, "status": "success", "title": doc.title, "content": text, "length": len(text), "source": "web",
        "source_type": "website", "data_type": "unstructured", "price": float(price),
    }
