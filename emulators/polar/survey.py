"""What the console shows of this emulator, and how it moves the time; also over HTTP below `/_emulator`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.polar import billing, customers, orders, products, subscriptions
from emulators.polar.context import Polar, moment, stamp
from emulators.polar.tables import Document

LATEST = 200


def overview(polar: Polar) -> dict[str, Any]:
    """Everything of interest, the latest first.

    Keys: now, customers, products, subscriptions, orders, checkouts, events (the latest), webhook_endpoints, and
    webhooks (the latest, with their attempts).
    """
    tables = polar.tables
    with tables.store.transaction():
        return {
            "now": stamp(polar.now()),
            "customers": [customers.show(polar, each) for each in tables.find("customer", newest_first=True)],
            "products": [products.show(polar, each) for each in tables.find("product", newest_first=True)],
            "subscriptions": [subscriptions.show(polar, each)
                              for each in tables.find("subscription", newest_first=True)],
            "orders": [orders.show(polar, each) for each in tables.find("order", newest_first=True)],
            "checkouts": [_checkout(each) for each in tables.find("checkout", newest_first=True)],
            "events": [{**dict(row), "metadata": json.loads(row["metadata"])} for row in tables.rows(
                "SELECT * FROM polar_event ORDER BY seq DESC LIMIT ?", LATEST)],
            "webhook_endpoints": [{key: each[key] for key in ("id", "url", "name", "enabled")}
                                  for each in tables.find("webhook_endpoint")],
            "webhooks": _webhooks(polar),
        }


def _checkout(checkout: Document) -> Document:
    keys = ("id", "created_at", "status", "url", "expires_at", "product_id", "customer_id", "external_customer_id",
            "customer_email")
    return {key: checkout[key] for key in keys}


def _webhooks(polar: Polar) -> list[Document]:
    """The latest webhooks; `state` is pending, delivered or failed, `next_at` the time of the next attempt (real)."""
    rows = polar.tables.rows(
        "SELECT e.*, (SELECT count(*) FROM polar_webhook_delivery d WHERE d.event_id = e.id) AS sent "
        "FROM polar_webhook_event e ORDER BY seq DESC LIMIT ?", LATEST)
    states = {None: "pending", 0: "failed", 1: "delivered"}
    return [{"id": row["id"], "type": row["type"], "endpoint_id": row["endpoint_id"], "created_at": row["created_at"],
             "state": states[row["succeeded"]], "attempts": row["attempts"], "sent": row["sent"],
             "last_http_code": row["last_http_code"], "next_at": row["next_at"],
             "payload": json.loads(row["payload"])} for row in rows]


def advance(polar: Polar, by: timedelta) -> None:
    """Move the clock forward and do everything that then is due; ValueError for a negative step."""
    polar.world.clock.advance(by)
    billing.cycle(polar)
    polar.rouse()


def advance_to_period_end(polar: Polar, subscription_id: str | None = None) -> None:
    """Move the clock past the end of that subscription's period, or of the one that ends first.

    KeyError if there is no such subscription that is billed.
    """
    found = [each for each in polar.tables.find("subscription") if each["status"] in subscriptions.BILLABLE
             and subscription_id in (None, each["id"])]
    if not found:
        raise KeyError(subscription_id or "no subscription")
    end = min(moment(each["current_period_end"]) for each in found)
    advance(polar, max(timedelta(0), end - polar.now()) + timedelta(seconds=1))


def routes(polar: Polar) -> list[Route]:
    """GET /_emulator/overview; POST /_emulator/clock {"seconds": n} or {"to": "period_end", "subscription_id"?}."""

    async def show(_: Request) -> Response:
        return JSONResponse(overview(polar))

    async def clock(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            # A page of another site can send other types without being asked, this one it cannot.
            return JSONResponse({"error": "Send application/json."}, 415)
        try:
            asked = await request.json()
            if asked.get("to") == "period_end":
                advance_to_period_end(polar, asked.get("subscription_id"))
            else:
                advance(polar, timedelta(seconds=float(asked["seconds"])))
        except (KeyError, ValueError, TypeError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 422)
        return JSONResponse({"now": stamp(polar.now())})

    return [Route("/_emulator/overview", show, methods=["GET"]), Route("/_emulator/clock", clock, methods=["POST"])]
