"""Events: ingested once per external id, listed, counted by name."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import Any, NamedTuple

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from starlette.routing import Route

from emulators.polar import customers
from emulators.polar.context import Polar, stamp
from emulators.polar.errors import ServerFailure, invalid, malformed, not_found
from emulators.polar.event_inputs import EventCreateCustomer, EventsIngest
from emulators.polar.http import Api, Call, page
from emulators.polar.tables import Document, new_id

# An event whose parent is not known is kept back until the parent arrives: it is neither listed nor counted.
VISIBLE = "awaited_parent IS NULL"
INSERT = """
INSERT INTO polar_event (id, external_id, name, source, customer_id, external_customer_id, parent_id, awaited_parent,
    timestamp, received_at, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (external_id) DO NOTHING
"""
_moments: TypeAdapter[Any] = TypeAdapter(AwareDatetime)
_encoder = json.JSONEncoder(default=str)


def routes(api: Api) -> list[Route]:
    """The event endpoints."""
    return [
        api.route("POST", "/events/ingest", ingest),
        api.route("GET", "/events/", listing),
        api.route("GET", "/events/names", names),
        api.route("GET", "/events/{id}", single),
    ]


def ingest(call: Call) -> Document:
    """Store a batch, all of it or nothing; events whose external id is known already are counted as duplicates."""
    batch = call.read(EventsIngest).events
    polar = call.polar
    by_id = {customer["id"]: customer for customer in polar.tables.find("customer")}
    by_external = {customer["external_id"]: customer["id"] for customer in by_id.values()}
    rows, now, encode = [], stamp(polar.now()), _encoder.encode
    for index, event in enumerate(batch):
        if isinstance(event, EventCreateCustomer):
            customer_id: str | None = str(event.customer_id)
            if customer_id not in by_id:
                raise invalid(("events", index, "customer_id"), "Customer not found.", customer_id, kind="customer_id")
            external = by_id[customer_id]["external_id"]
        else:
            external = event.external_customer_id
            customer_id = by_external.get(external)
        _refuse_nan(event.metadata)
        at = stamp(event.timestamp) if event.timestamp else now
        rows.append(_Row(event.parent_id, (new_id(), event.external_id, event.name, "user", customer_id, external),
                         (at, now, encode(event.metadata))))
    inserted = _insert(polar, rows)
    return {"inserted": inserted, "duplicates": len(batch) - inserted}


class _Row(NamedTuple):
    """An event's columns before and after those of its parent, whom it names here as its sender did."""

    parent: str | None
    before: tuple[str | None, ...]
    after: tuple[str, ...]


def _insert(polar: Polar, rows: list[_Row]) -> int:
    """Store events; returns how many were new. One by one only where events may be parents of one another."""
    awaited = polar.tables.rows("SELECT 1 FROM polar_event WHERE awaited_parent IS NOT NULL LIMIT 1")
    if awaited or any(row.parent for row in rows):
        return sum(_insert_one(polar, row) for row in rows)
    return polar.tables.write_all(INSERT, [(*row.before, None, None, *row.after) for row in rows])


def _insert_one(polar: Polar, row: _Row) -> int:
    inserted = polar.tables.write(INSERT, *row.before, *_parent(polar, row.parent), *row.after)
    identifier, external_id, *_ = row.before
    if inserted and external_id is not None:
        polar.tables.write("UPDATE polar_event SET parent_id = ?, awaited_parent = NULL WHERE awaited_parent = ?",
                           identifier, external_id)
    return inserted


def add_system(polar: Polar, name: str, customer: Document, metadata: Document) -> None:
    """Record what the service itself did to a customer's meter."""
    now = stamp(polar.now())
    polar.tables.write(INSERT, new_id(), None, name, "system", customer["id"], customer["external_id"], None, None,
                       now, now, json.dumps(metadata))


def _refuse_nan(metadata: Document) -> None:
    if any(isinstance(value, float) and not math.isfinite(value) for value in metadata.values()):
        raise ServerFailure


def _parent(polar: Polar, named: str | None) -> tuple[str | None, str | None]:
    """The parent's id, found by id or external id, or else the name that is awaited."""
    if named is None:
        return None, None
    found = polar.tables.rows("SELECT id FROM polar_event WHERE id = ? OR external_id = ?", named, named)
    return (found[0][0], None) if found else (None, named)


def selection(call: Call) -> tuple[str, list[Any]]:
    """The WHERE clause and its arguments for an event query."""
    clauses, arguments = [VISIBLE], []
    for parameter in ("customer_id", "external_customer_id", "name", "source", "parent_id"):
        if values := call.query.get(parameter):
            clauses.append(f"{parameter} IN ({', '.join('?' * len(values))})")
            arguments += values
    for parameter, operator in (("start_timestamp", ">="), ("end_timestamp", "<=")):
        if (value := call.one(parameter)) is not None:
            clauses.append(f"timestamp {operator} ?")
            arguments.append(_moment(parameter, value))
    return " AND ".join(clauses), arguments


def _moment(parameter: str, value: str) -> str:
    try:
        return stamp(_moments.validate_python(value))
    except ValidationError as error:
        raise malformed(error, "query", parameter) from error


def listing(call: Call) -> Document:
    """Events, the latest first; `sorting=timestamp` turns that round."""
    where, arguments = selection(call)
    order = "ASC" if call.one("sorting") == "timestamp" else "DESC"
    found = call.polar.tables.rows(
        f"SELECT * FROM polar_event WHERE {where} ORDER BY timestamp {order}, seq {order}", *arguments)
    return page(call, found, lambda row: show(call.polar, row, children=_children(call.polar, row["id"])))


def _children(polar: Polar, identifier: str) -> int:
    return int(polar.tables.rows("SELECT count(*) FROM polar_event WHERE parent_id = ?", identifier)[0][0])


def names(call: Call) -> Document:
    """How often each name occurred, the latest first. Times have milliseconds here, as in the real answers."""
    where, arguments = selection(call)
    sql = (f"SELECT name, source, count(*) AS occurrences, min(timestamp) AS first_seen, max(timestamp) AS last_seen "
           f"FROM polar_event WHERE {where} GROUP BY name, source ORDER BY last_seen DESC, name")
    return page(call, call.polar.tables.rows(sql, *arguments), lambda row: {
        "name": row["name"], "label": row["name"], "source": row["source"], "occurrences": row["occurrences"],
        "first_seen": in_milliseconds(row["first_seen"]), "last_seen": in_milliseconds(row["last_seen"])})


def in_milliseconds(text: str) -> str:
    """A stamp whose microseconds are cut to milliseconds: what the event store keeps of a time."""
    return text[:-4] + "000Z"


def single(call: Call) -> Document:
    """One event. Its children are not counted here, as in the real answer."""
    found = call.polar.tables.rows(f"SELECT * FROM polar_event WHERE id = ? AND {VISIBLE}", call.path["id"])
    if not found:
        raise not_found()
    return show(call.polar, found[0], children=0)


def show(polar: Polar, row: sqlite3.Row, *, children: int) -> Document:
    """An event as it is answered."""
    customer = polar.tables.get("customer", row["customer_id"])
    return {
        "id": row["id"], "timestamp": row["timestamp"], "organization_id": polar.organization_id,
        "customer_id": row["customer_id"], "customer": customers.show(polar, customer) if customer else None,
        "external_customer_id": row["external_customer_id"], "member_id": None, "external_member_id": None,
        "child_count": children, "parent_id": row["parent_id"], "label": row["name"], "name": row["name"],
        "source": row["source"], "metadata": json.loads(row["metadata"]),
    }
