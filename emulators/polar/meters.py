"""Meters: what is summed, and the exact quantities per interval."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError
from starlette.routing import Route

from emulators.polar.context import Polar, stamp
from emulators.polar.errors import invalid, malformed
from emulators.polar.events import VISIBLE
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.measuring import aggregate, measured, only_name
from emulators.polar.periods import Interval, later, truncate
from emulators.polar.tables import Document

MOST_DAYS = {"hour": 7, "day": 366, "week": 371, "month": 1460, "year": 3650}
"""The longest range that may be asked for, by interval."""


class Clause(BaseModel):
    """One comparison of an event's property."""

    property: str
    operator: Literal["eq", "ne", "gt", "gte", "lt", "lte", "like", "not_like"]
    value: bool | int | str


class Filter(BaseModel):
    """Clauses and filters, all of which or any of which must hold."""

    conjunction: Literal["and", "or"]
    clauses: list[Clause | Filter]


class Count(BaseModel):
    """How many events."""

    func: Literal["count"] = "count"


class OfProperty(BaseModel):
    """An aggregation of a numeric property, or of how many different values it has."""

    func: Literal["sum", "max", "min", "avg", "unique"]
    property: str


class MeterCreate(BaseModel):
    """A new meter."""

    name: str = Field(min_length=3)
    unit: Literal["scalar", "token", "custom"] = "scalar"
    custom_label: str | None = None
    custom_multiplier: int | None = Field(default=None, gt=0)
    filter: Filter
    aggregation: Count | OfProperty
    metadata: dict[str, str | int | float | bool] = Field(default_factory=dict)


class MeterUpdate(BaseModel):
    """Changes of a meter; what is absent stays."""

    name: str | None = Field(default=None, min_length=3)
    unit: Literal["scalar", "token", "custom"] | None = None
    custom_label: str | None = None
    custom_multiplier: int | None = Field(default=None, gt=0)
    filter: Filter | None = None
    aggregation: Count | OfProperty | None = None
    metadata: dict[str, str | int | float | bool] | None = None
    is_archived: bool | None = None


class Quantities(BaseModel):
    """The query of the quantities endpoint."""

    start_timestamp: AwareDatetime
    end_timestamp: AwareDatetime
    interval: Interval
    timezone: str = "UTC"


def routes(api: Api) -> list[Route]:
    """The meter endpoints."""
    return [
        api.route("GET", "/meters/", listing),
        api.route("POST", "/meters/", create, status=201),
        api.route("GET", "/meters/{id}", lambda call: show(call.document("meter"))),
        api.route("PATCH", "/meters/{id}", update),
        api.route("GET", "/meters/{id}/quantities", quantities),
    ]


def create(call: Call) -> Document:
    """Make a meter. A real meter is touched by a job right after it was made, hence its `modified_at`."""
    given = call.read(MeterCreate).model_dump()
    base = call.polar.base()
    meter = {**base, "modified_at": base["created_at"], **given, "archived_at": None,
             "organization_id": call.polar.organization_id}
    return show(call.polar.tables.add("meter", meter))


def update(call: Call) -> Document:
    """Change a meter, or archive it."""
    meter = call.document("meter")
    given = call.read(MeterUpdate).model_dump(exclude_none=True)
    archived = given.pop("is_archived", None)
    if archived is not None:
        meter["archived_at"] = stamp(call.polar.now()) if archived else None
    return show(call.polar.touch({**meter, **given}))


def listing(call: Call) -> Document:
    """Meters by name, found by a part of the name and by whether they are archived."""
    found = matching(call.polar.tables.find("meter"), call, "organization_id")
    if (query := call.one("query")) is not None:
        found = [meter for meter in found if query.lower() in meter["name"].lower()]
    if (archived := call.flag("is_archived")) is not None:
        found = [meter for meter in found if (meter["archived_at"] is not None) == archived]
    return page(call, sorted(found, key=lambda meter: meter["name"]), show)


def show(meter: Document) -> Document:
    """A meter as it is answered."""
    first = ("metadata", "created_at", "modified_at", "id", "name", "unit", "custom_label", "custom_multiplier",
             "filter", "aggregation", "organization_id", "archived_at")
    return {key: meter[key] for key in first}


def brief(meter: Document) -> Document:
    """A meter as it stands within a price."""
    return {key: meter[key] for key in ("id", "name", "unit", "custom_label", "custom_multiplier")}


def quantities(call: Call) -> Document:
    """What the meter measured per interval and in all. Nothing here is delayed.

    As in Polar's own source (server/polar/meter/service.py), the two timestamps do not cut: each step from the first to
    the last stands for the whole calendar hour, day, … month that it falls into, and a part at the end to which no step
    leads is missing. The total is made of what is listed; an average and a count of unique values are of all time.
    """
    meter = call.document("meter")
    asked = _asked(call)
    days = (asked.end_timestamp.date() - asked.start_timestamp.date()).days
    if not 0 <= days <= MOST_DAYS[asked.interval]:
        asked_for = [stamp(asked.start_timestamp), stamp(asked.end_timestamp), asked.interval]
        raise invalid((), "The interval is too small for the given date range. Use a larger interval or reduce the "
                      "date range.", asked_for, within="query")
    where: list[str] = [VISIBLE]
    arguments: list[Any] = []
    if (name := only_name(meter["filter"])) is not None:
        where.append("name = ?")
        arguments.append(name)
    for parameter in ("customer_id", "external_customer_id"):
        if values := call.query.get(parameter):
            where.append(f"{parameter} IN ({', '.join('?' * len(values))})")
            arguments += values
    rows = call.polar.tables.rows(f"SELECT * FROM polar_event WHERE {' AND '.join(where)} ORDER BY seq", *arguments)
    samples, zone = measured(meter, rows), ZoneInfo(asked.timezone)
    buckets: dict[datetime, list[Any]] = {}
    for sample in samples:
        buckets.setdefault(truncate(sample.timestamp.astimezone(zone), asked.interval), []).append(sample)
    listed: list[Document] = []
    at, shown = asked.start_timestamp, []
    while at <= asked.end_timestamp:
        inside = buckets.get(truncate(at.astimezone(zone), asked.interval), [])
        listed.append({"timestamp": stamp(at), "quantity": aggregate(meter["aggregation"], inside)})
        shown += inside
        at = later(at, asked.interval)
    of_all_time = meter["aggregation"]["func"] in ("avg", "unique")
    return {"quantities": listed, "total": aggregate(meter["aggregation"], samples if of_all_time else shown)}


def _asked(call: Call) -> Quantities:
    query = {name: values[-1] for name, values in call.query.items()}
    try:
        return TypeAdapter(Quantities).validate_python(query)
    except ValidationError as error:
        raise malformed(error, "query") from error


def of_customer(polar: Polar, customer_id: str, meter: Document, *, after: int, received_until: str) -> float:
    """What a meter measured of a customer's events that came after event number `after` and until that moment."""
    rows = polar.tables.rows(
        "SELECT * FROM polar_event WHERE customer_id = ?1 AND seq > ?2 AND received_at <= ?3 "
        f"AND (?4 IS NULL OR name = ?4) AND {VISIBLE} ORDER BY seq",
        customer_id, after, received_until, only_name(meter["filter"]))
    return aggregate(meter["aggregation"], measured(meter, rows))

