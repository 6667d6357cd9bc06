"""Webhook endpoints and the record of their deliveries, as the API shows them."""

from __future__ import annotations

import ipaddress
import secrets
import sqlite3
import time
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.routing import Route

from emulators.polar.context import Polar
from emulators.polar.errors import not_found
from emulators.polar.http import Api, Call, page
from emulators.polar.outgoing import API_VERSION
from emulators.polar.tables import Document
from emulators.polar.webhook_types import EventType

PRECONFIGURED = "Set up in the dashboard"
FIELDS = ("created_at", "modified_at", "id", "url", "name", "format", "secret", "organization_id", "events", "enabled",
          "api_version")


def _public_https(url: str) -> str:
    """Only https, and no host of one's own network. Names are not resolved, as the real check does not either."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise PydanticCustomError("url_scheme", "URL scheme should be 'https'", {"expected_schemes": "'https'"})
    host = parts.hostname or ""
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    if private:
        raise ValueError("Webhook URLs cannot point to localhost or private IP addresses.")
    return url


Url = Annotated[str, Field(min_length=1, max_length=2083), AfterValidator(_public_https)]


class EndpointCreate(BaseModel):
    """A new endpoint."""

    url: Url
    name: str | None = None
    format: Literal["raw", "discord", "slack"]
    events: list[EventType]
    api_version: str = API_VERSION


class EndpointUpdate(BaseModel):
    """Changes of an endpoint; what is absent stays."""

    url: Url | None = None
    name: str | None = None
    format: Literal["raw", "discord", "slack"] | None = None
    events: list[EventType] | None = None
    enabled: bool | None = None
    api_version: str | None = None


def routes(api: Api) -> list[Route]:
    """The webhook endpoints' endpoints."""
    return [
        api.route("GET", "/webhooks/endpoints", lambda call: page(
            call, call.polar.tables.find("webhook_endpoint", newest_first=True), show)),
        api.route("POST", "/webhooks/endpoints", create, status=201),
        api.route("GET", "/webhooks/endpoints/{id}", lambda call: show(call.document("webhook_endpoint"))),
        api.route("PATCH", "/webhooks/endpoints/{id}", update),
        api.route("PATCH", "/webhooks/endpoints/{id}/secret", new_secret),
        api.route("DELETE", "/webhooks/endpoints/{id}", delete, status=204),
        api.route("GET", "/webhooks/deliveries", deliveries),
        api.route("POST", "/webhooks/events/{id}/redeliver", redeliver, status=202),
    ]


def create(call: Call) -> Document:
    """Make an endpoint with a fresh secret."""
    return show(add(call.polar, call.read(EndpointCreate).model_dump(mode="json"), secret=_secret()))


def add(polar: Polar, fields: Document, *, secret: str) -> Document:
    """Store an endpoint, enabled."""
    return polar.tables.add("webhook_endpoint", {
        **polar.base(), **fields, "secret": secret, "organization_id": polar.organization_id, "enabled": True,
        "_failures": 0})


def ensure_preconfigured(polar: Polar) -> None:
    """The endpoint that stands for one set up in the dashboard: the app's own, for all types, enabled at each start."""
    config = polar.world.config
    fields: Document = {"url": f"{config.app_url}/api/webhooks/polar", "secret": config.polar_webhook_secret,
                        "enabled": True, "_failures": 0}
    found = polar.tables.find("webhook_endpoint", name=PRECONFIGURED)
    if found:
        polar.tables.save({**found[0], **fields})
        return
    events = [kind.value for kind in EventType]
    added = add(polar, {"name": PRECONFIGURED, "format": "raw", "events": events, "api_version": API_VERSION,
                        "url": fields["url"]}, secret=fields["secret"])
    polar.tables.save({**added, **fields})


def _secret() -> str:
    return "whsec_" + secrets.token_urlsafe(24)


def update(call: Call) -> Document:
    """Change an endpoint. To enable it again forgives its failures."""
    endpoint = call.document("webhook_endpoint")
    changes = call.read(EndpointUpdate).model_dump(mode="json", exclude_none=True)
    if changes.get("enabled"):
        changes["_failures"] = 0
    return show(call.polar.touch({**endpoint, **changes}))


def new_secret(call: Call) -> Document:
    """Replace the secret."""
    return show(call.polar.touch({**call.document("webhook_endpoint"), "secret": _secret()}))


def delete(call: Call) -> None:
    """Delete an endpoint; what was not delivered to it never will be."""
    endpoint = call.document("webhook_endpoint")
    call.polar.tables.write("UPDATE polar_webhook_event SET next_at = NULL WHERE endpoint_id = ?", endpoint["id"])
    call.polar.tables.remove(endpoint["id"])


def show(endpoint: Document) -> Document:
    """An endpoint as it is answered."""
    return {**{key: endpoint[key] for key in FIELDS}, "uses_standard_webhook_signature": True}


def deliveries(call: Call) -> Document:
    """Every attempt, the latest first, found by endpoint, success, type and time."""
    clauses, arguments = ["1 = 1"], []
    for parameter, column in (("endpoint_id", "e.endpoint_id"), ("event_type", "e.type")):
        if values := call.query.get(parameter):
            clauses.append(f"{column} IN ({', '.join('?' * len(values))})")
            arguments += values
    if (succeeded := call.flag("succeeded")) is not None:
        clauses.append("d.succeeded = ?")
        arguments.append(str(int(succeeded)))
    for parameter, operator in (("start_timestamp", ">="), ("end_timestamp", "<=")):
        if (value := call.one(parameter)) is not None:
            clauses.append(f"d.created_at {operator} ?")
            arguments.append(value)
    rows = call.polar.tables.rows(
        "SELECT d.id, d.created_at, d.succeeded, d.http_code, d.response, d.event_id FROM polar_webhook_delivery d "
        f"JOIN polar_webhook_event e ON e.id = d.event_id WHERE {' AND '.join(clauses)} ORDER BY d.seq DESC",
        *arguments)
    return page(call, rows, lambda row: show_delivery(call.polar, row))


def show_delivery(polar: Polar, row: sqlite3.Row) -> Document:
    """One attempt, with the event that it carried."""
    event = polar.tables.rows("SELECT * FROM polar_webhook_event WHERE id = ?", row["event_id"])[0]
    succeeded = event["succeeded"]
    return {
        "created_at": row["created_at"], "modified_at": None, "id": row["id"], "succeeded": bool(row["succeeded"]),
        "http_code": row["http_code"], "response": row["response"],
        "webhook_event": {
            "created_at": event["created_at"], "modified_at": event["modified_at"], "id": event["id"],
            "last_http_code": event["last_http_code"], "succeeded": None if succeeded is None else bool(succeeded),
            "skipped": False, "payload": event["payload"], "type": event["type"], "is_archived": False,
            "api_version": API_VERSION}}


def redeliver(call: Call) -> None:
    """Deliver an event once more, under the same id, with all attempts before it."""
    changed = call.polar.tables.write(
        "UPDATE polar_webhook_event SET next_at = ?, attempts = 0, succeeded = NULL WHERE id = ?",
        time.time(), call.path["id"])
    if not changed:
        raise not_found()
