"""A customer's meters: what was consumed since the last reset, what is credited, and the balance of the two."""

from __future__ import annotations

from datetime import timedelta

from starlette.routing import Route

from emulators.polar import customers, events, meters
from emulators.polar.context import Polar, stamp
from emulators.polar.events import VISIBLE
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.tables import Document


def routes(api: Api) -> list[Route]:
    """The endpoints of customer meters."""
    return [
        api.route("GET", "/customer-meters/", listing),
        api.route("GET", "/customer-meters/{id}", lambda call: show(call.polar, call.document("customer_meter"))),
    ]


def listing(call: Call) -> Document:
    """Customer meters, the latest first. As late as the customer's state: `usage_delay_seconds` behind the events."""
    polar = call.polar
    owners = matching(polar.tables.find("customer"), call, "organization_id")
    if externals := call.query.get("external_customer_id"):
        owners = [owner for owner in owners if owner["external_id"] in externals]
    if ids := call.query.get("customer_id"):
        owners = [owner for owner in owners if owner["id"] in ids]
    found = [row for owner in owners for row in refresh(polar, owner["id"])]
    found = matching(found, call, "meter_id")
    found.sort(key=lambda row: str(row["created_at"]), reverse=True)
    return page(call, found, lambda row: show(polar, row))


def show(polar: Polar, row: Document) -> Document:
    """A customer meter as it is answered."""
    keys = ("id", "created_at", "modified_at", "customer_id", "meter_id", "consumed_units", "credited_units", "balance")
    return {**{key: row[key] for key in keys},
            "customer": customers.show(polar, polar.tables.need("customer", row["customer_id"])),
            "meter": meters.show(polar.tables.need("meter", row["meter_id"]))}


def in_state(row: Document) -> Document:
    """A customer meter as the customer's state shows it."""
    keys = ("id", "created_at", "modified_at", "meter_id", "consumed_units", "credited_units", "balance")
    return {key: row[key] for key in keys}


def refresh(polar: Polar, customer_id: str) -> list[Document]:
    """Bring the customer's meters up to the events received `usage_delay_seconds` ago, and return them.

    The first event gives the customer a row for every meter, as the real job does.
    """
    until = stamp(polar.now() - timedelta(seconds=polar.settings.usage_delay_seconds))
    sql = ("SELECT max(seq) FROM polar_event WHERE customer_id = ? AND received_at <= ? AND source = 'user' "
           f"AND {VISIBLE}")
    last = polar.tables.rows(sql, customer_id, until)[0][0]
    if last is not None:
        for meter in polar.tables.find("meter"):
            if meter["archived_at"] is None:
                _measure(polar, row_of(polar, customer_id, meter["id"]), meter, last, until)
    return polar.tables.find("customer_meter", customer_id=customer_id)


def _measure(polar: Polar, row: Document, meter: Document, last: int, until: str) -> None:
    if row["_seen"] == last:
        return
    consumed = meters.of_customer(polar, row["customer_id"], meter, after=row["_reset"], received_until=until)
    changed = consumed != row["consumed_units"]
    row = {**row, "_seen": last, "consumed_units": consumed, "balance": row["credited_units"] - consumed}
    if changed:
        polar.touch(row)
    else:
        polar.tables.save(row)


def row_of(polar: Polar, customer_id: str, meter_id: str) -> Document:
    """The row of that customer and meter; it is made on first use."""
    found = polar.tables.find("customer_meter", customer_id=customer_id, meter_id=meter_id)
    return found[0] if found else polar.tables.add("customer_meter", {
        **polar.base(), "customer_id": customer_id, "meter_id": meter_id, "consumed_units": 0.0, "credited_units": 0,
        "balance": 0.0, "_seen": 0, "_reset": 0})


def recount_credit(polar: Polar, customer_id: str, meter_id: str) -> None:
    """Set the credited units to what the customer's grants for that meter add up to."""
    benefit_ids = {benefit["id"] for benefit in polar.tables.find("benefit")
                   if benefit["type"] == "meter_credit" and benefit["properties"]["meter_id"] == meter_id}
    credited = sum(grant["credited_units"] for grant in polar.tables.find("grant", customer_id=customer_id)
                   if grant["benefit_id"] in benefit_ids)
    row = row_of(polar, customer_id, meter_id)
    polar.touch({**row, "credited_units": credited, "balance": credited - row["consumed_units"]})


def credit(polar: Polar, granted: Document, benefit: Document, *, carried: float = 0.0) -> None:
    """Credit the units of a granted benefit for a period, with what rolls over from the last one."""
    properties = benefit["properties"]
    units = properties["units"] + (max(0, int(carried)) if properties["rollover"] else 0)
    polar.tables.save({**granted, "credited_units": units})
    customer = polar.tables.need("customer", granted["customer_id"])
    events.add_system(polar, "meter.credited", customer, {
        "meter_id": properties["meter_id"], "units": units, "rollover": properties["rollover"]})
    recount_credit(polar, granted["customer_id"], properties["meter_id"])


def reset(polar: Polar, customer_id: str, meter_id: str) -> float:
    """Begin to count anew, at a period's start. Returns the balance that was left."""
    row = row_of(polar, customer_id, meter_id)
    meter = polar.tables.need("meter", meter_id)
    left = row["credited_units"] - meters.of_customer(
        polar, customer_id, meter, after=row["_reset"], received_until=stamp(polar.now()))
    newest = polar.tables.rows("SELECT max(seq) FROM polar_event")[0][0] or 0
    polar.touch({**row, "consumed_units": 0.0, "balance": float(row["credited_units"]), "_reset": newest})
    events.add_system(polar, "meter.reset", polar.tables.need("customer", customer_id), {"meter_id": meter_id})
    return float(left)
