"""Events and meters beyond the recordings: filters, aggregations, intervals, limits."""

import httpx
import pytest
from polar.base import PolarClientError, PolarNetworkError, PolarRateLimitError, PolarServerError

from emulators import polar as emulator
from emulators.faults import Fault

EVENTS = [
    {"name": "call", "metadata": {"model": "small-1", "units": 1, "paid": True}},
    {"name": "call", "metadata": {"model": "small-2", "units": 4, "paid": False}},
    {"name": "call", "metadata": {"model": "large-1", "units": 10, "deep": "x"}},
    {"name": "tool", "metadata": {"model": "small-1", "units": 100}},
]


def clause(name, operator, value):
    return {"property": name, "operator": operator, "value": value}


def every(*clauses):
    return {"conjunction": "and", "clauses": list(clauses)}


def some(*clauses):
    return {"conjunction": "or", "clauses": list(clauses)}


async def total(town, rule, aggregation) -> float:
    meter = await town.sdk.meters.create(name="A meter", filter=rule, aggregation=aggregation)
    now = town.world.clock.now()
    measured = await town.sdk.meters.quantities(
        meter.id, start_timestamp=now.replace(year=now.year - 1, day=1).isoformat(), end_timestamp=now.isoformat(),
        interval="month", external_customer_id="acct")
    return measured.total


async def ingest(town) -> None:
    await town.sdk.events.ingest(events=[{**event, "external_customer_id": "acct"} for event in EVENTS])


@pytest.mark.parametrize(("rule", "expected"), [
    (every(clause("name", "eq", "call")), 3),
    (every(clause("name", "ne", "call")), 1),
    (every(clause("name", "eq", "call"), clause("units", "gt", 4)), 1),
    (every(clause("units", "gte", 4)), 3),
    (every(clause("units", "lt", 4)), 1),
    (every(clause("units", "lte", 4)), 2),
    (every(clause("model", "like", "small")), 3),
    (every(clause("model", "not_like", "small")), 1),
    (every(clause("paid", "eq", True)), 1),
    (every(clause("paid", "ne", True)), 1),
    (every(clause("absent", "ne", "x")), 0),
    (some(clause("name", "eq", "tool"), clause("units", "eq", 10)), 2),
    (every(clause("name", "eq", "call"), some(clause("units", "eq", 1), clause("model", "like", "large"))), 2),
    (every(), 4),
])
async def test_a_filter_counts_the_events_that_fulfil_it(town, rule, expected):
    await ingest(town)
    assert await total(town, rule, {"func": "count"}) == expected


@pytest.mark.parametrize(("aggregation", "expected"), [
    ({"func": "count"}, 3), ({"func": "sum", "property": "units"}, 15), ({"func": "max", "property": "units"}, 10),
    ({"func": "min", "property": "units"}, 1), ({"func": "avg", "property": "units"}, 5),
    ({"func": "unique", "property": "model"}, 3), ({"func": "sum", "property": "absent"}, 0),
])
async def test_an_aggregation_condenses_the_filtered_events(town, aggregation, expected):
    await ingest(town)
    assert await total(town, every(clause("name", "eq", "call")), aggregation) == expected


async def test_quantities_are_given_per_interval_at_the_events_own_times(town):
    meter = await town.meter()
    await town.use(1, timestamp="2026-03-01T23:30:00Z")
    await town.use(2, timestamp="2026-03-02T00:30:00Z")
    await town.use(4, timestamp="2026-03-02T00:45:00Z")
    span = {"start_timestamp": "2026-03-01T00:00:00Z", "end_timestamp": "2026-03-03T00:00:00Z"}
    days = await town.sdk.meters.quantities(meter, **span, interval="day")
    assert [bucket.quantity for bucket in days.quantities] == [1, 6, 0]
    hours = await town.sdk.meters.quantities(meter, **span, interval="hour")
    assert [bucket.quantity for bucket in hours.quantities if bucket.quantity] == [1, 6]
    assert days.total == hours.total == 7


async def test_quantities_are_of_whole_intervals_and_leave_out_what_no_step_reaches(town):
    meter = await town.meter()
    for number, at in enumerate(("2026-02-27T12:00:00Z", "2026-03-14T12:00:00Z", "2026-03-20T12:00:00Z",
                                 "2026-04-02T12:00:00Z")):
        await town.use(10**number, timestamp=at)
    span = {"start_timestamp": "2026-03-15T00:00:00Z", "end_timestamp": "2026-04-05T00:00:00Z"}
    months = await town.sdk.meters.quantities(meter, **span, interval="month")
    assert ([bucket.quantity for bucket in months.quantities], months.total) == ([110], 110)
    assert (await town.sdk.meters.quantities(meter, **span, interval="day")).total == 1100
    with pytest.raises(Exception, match="The interval is too small"):
        await town.sdk.meters.quantities(meter, **{**span, "end_timestamp": "2027-04-05T00:00:00Z"}, interval="day")


async def test_an_event_whose_parent_is_unknown_waits_for_it(town):
    await town.sdk.events.ingest(events=[
        {"name": "child", "external_customer_id": "acct", "external_id": "c", "parent_id": "p"}])
    assert (await town.sdk.events.list(external_customer_id="acct")).items == []
    await town.sdk.events.ingest(events=[{"name": "parent", "external_customer_id": "acct", "external_id": "p"}])
    listed = {event.name: event for event in (await town.sdk.events.list(external_customer_id="acct")).items}
    assert listed["child"].parent_id == listed["parent"].id
    assert listed["parent"].child_count == 1


async def test_a_customer_created_later_inherits_the_events(town):
    await town.use(3, "later")
    customer = await town.sdk.customers.create(email="later@example.com", external_id="later")
    assert (await town.sdk.events.list(customer_id=customer.id)).items[0].customer.id == customer.id


async def test_the_state_is_behind_the_events_and_the_quantities_are_not(town):
    meter = await town.meter()
    await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    await town.use(5)
    await town.state_when(lambda state: state.active_meters and state.active_meters[0].consumed_units == 5)
    listed = (await town.sdk.customer_meters.list(external_customer_id="acct")).items
    assert [(row.meter_id, row.consumed_units) for row in listed] == [(meter, 5)]


@pytest.mark.parametrize("settings", [emulator.Settings(requests_per_minute=3)])
async def test_too_many_requests_are_refused_with_a_time_to_wait(town):
    for _ in range(3):
        await town.sdk.customers.list()
    with pytest.raises(PolarRateLimitError) as error:
        await town.sdk.customers.list()
    assert error.value.retry_after == 60


async def test_each_fault_of_requests_is_what_a_client_fears(town):
    faults = town.world.faults
    faults.switch_on("polar", Fault.DOWN, times=1)
    with pytest.raises(PolarNetworkError):
        await town.sdk.customers.list()
    faults.switch_on("polar", Fault.SERVER_ERROR, times=1)
    with pytest.raises(PolarServerError):
        await town.sdk.customers.list()
    faults.switch_on("polar", Fault.TOO_MANY_REQUESTS, times=1)
    with pytest.raises(PolarRateLimitError):
        await town.sdk.customers.list()
    faults.switch_on("polar", Fault.SLOW, times=1, seconds=0.3)
    with pytest.raises(PolarNetworkError):
        await town.sdk.customers.list(request_timeout=httpx.Timeout(0.1))
    assert (await town.sdk.customers.list()).items == []


async def test_an_ingestion_whose_answer_was_lost_is_repeated_without_counting_twice(town):
    town.world.faults.switch_on("polar", Fault.LOST_ANSWER, times=1, path="/events/ingest")
    event = {"name": "usage", "external_customer_id": "acct", "external_id": "e1", "metadata": {"units": 1}}
    with pytest.raises(PolarNetworkError):
        await town.sdk.events.ingest(events=[event])
    again = await town.sdk.events.ingest(events=[event])
    assert (again.inserted, again.duplicates) == (0, 1)


async def test_meters_and_products_can_be_changed(town):
    meter = await town.meter()
    changed = await town.sdk.meters.update(meter, custom_label="USD", unit="custom", custom_multiplier=1_000_000)
    assert (changed.custom_label, changed.custom_multiplier) == ("USD", 1_000_000)
    assert (await town.sdk.meters.update(meter, is_archived=True)).archived_at is not None
    product = await town.product("Flat rate", {"amount_type": "fixed", "price_amount": 20_000})
    renamed = await town.sdk.products.update(product, name="Everything", prices=[
        {"amount_type": "fixed", "price_amount": 30_000}])
    assert (renamed.name, [price.price_amount for price in renamed.prices]) == ("Everything", [30_000])
    with pytest.raises(PolarClientError) as error:
        await town.sdk.products.get("00c29ca6-995f-42c8-a5bb-bd4181df8d74")
    assert error.value.status_code == 404
