"""Polar's side of the catalogue is made once."""

import asyncio
from dataclasses import replace

import pytest
from sqlmodel import delete

from chatapp.billing import provision
from chatapp.clients.errors import Unavailable
from chatapp.models import JobRun, PolarObject
from emulators.faults import Fault
from tests.billing.town import Town


async def counts(town: Town) -> tuple[int, int]:
    sdk = town.services.polar._sdk
    return len((await sdk.meters.list(limit=100)).items), len((await sdk.products.list(limit=100)).items)


def forget(town: Town) -> None:
    with town.db.session() as session:
        session.exec(delete(PolarObject))


async def test_the_meter_sums_charges_and_the_products_cost_what_the_plans_say(town: Town) -> None:
    catalogue = await provision.apply(town.services)
    sdk = town.services.polar._sdk
    meter = await sdk.meters.get(catalogue.meter_id)
    assert (meter.unit, meter.custom_label, meter.custom_multiplier) == ("custom", "USD", 1_000_000)
    assert meter.aggregation.property == "charge_microusd"
    product = await sdk.products.get(catalogue.products["pay_per_use"])
    prices = {price.amount_type: price for price in product.prices}
    assert float(prices["metered_unit"].unit_amount) == 0.0001
    assert product.meter_interval == "month"
    assert prices["metered_unit"].meter_id == catalogue.meter_id
    unlimited = await sdk.products.get(catalogue.products["unlimited"])
    assert [price.price_amount for price in unlimited.prices] == [20_000]


async def test_a_second_run_changes_nothing_and_a_lost_record_is_found_again(town: Town) -> None:
    first = await provision.apply(town.services)
    assert await provision.apply(town.services) == first
    forget(town)
    assert await provision.apply(town.services) == first
    assert await counts(town) == (1, 2)


async def test_runs_at_once_make_everything_once(town: Town) -> None:
    catalogues = await asyncio.gather(*(provision.apply(town.services) for _ in range(4)))
    assert len({catalogue.meter_id for catalogue in catalogues}) == 1
    assert await counts(town) == (1, 2)


async def test_what_was_made_before_an_interruption_is_not_made_again(town: Town) -> None:
    polar = town.services.polar.catalog
    meter_id = await polar.create_sum_meter(provision.METER, name="Usage", event_name="usage",
                                            property_name="charge_microusd", label="USD", multiplier=1_000_000)
    product_id = await polar.create_monthly_product("product:unlimited", name="Unlimited", description="All of it.",
                                                    fixed_cents=20_000)
    catalogue = await provision.apply(town.services)
    assert (catalogue.meter_id, catalogue.products["unlimited"]) == (meter_id, product_id)
    assert await counts(town) == (1, 2)


async def test_an_outage_leaves_the_lock_free_for_the_next_run(town: Town) -> None:
    town.fault(Fault.SERVER_ERROR, path="/products", times=1)
    with pytest.raises(Unavailable):
        await provision.apply(town.services)
    with town.db.reading() as session:
        assert provision.known(session, town.services.settings) is None
    catalogue = await provision.apply(town.services)
    with town.db.reading() as session:
        assert provision.known(session, town.services.settings) == catalogue


async def test_a_run_that_died_with_the_lock_is_followed_by_another(town: Town) -> None:
    with town.db.session() as session:
        long_ago = provision.now().replace(year=2020)
        session.add(JobRun(key="provision", claimed_at=long_ago, lease_until=long_ago))
    await provision.apply(town.services)


async def test_the_ids_of_one_organization_are_never_used_for_another(town: Town) -> None:
    await provision.apply(town.services)
    settings = town.services.settings
    with town.db.reading() as session:
        assert provision.known(session, replace(settings, polar=replace(settings.polar, key="another"))) is None
