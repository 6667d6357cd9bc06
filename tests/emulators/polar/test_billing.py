"""Usage, periods, renewals, switches and failed payments, with the real SDK."""

import pytest
from polar.base import PolarClientError

from tests.emulators.polar.prices import FLAT, FREE, per_unit


async def test_usage_is_billed_at_the_end_of_the_period_by_the_formula(town):
    meter = await town.meter()
    subscription = await town.subscribe(await town.product("Pay per use", FREE, per_unit(meter, "0.0001")))
    await town.use(1_234_567)
    await town.use(765_432.5)
    await town.clock(to="period_end", subscription_id=subscription)
    order, first = await town.orders()
    assert (first.total_amount, first.billing_reason, first.status) == (0, "subscription_create", "paid")
    assert (order.total_amount, order.billing_reason, order.status) == (200, "subscription_cycle", "paid")
    assert [line.amount for line in order.items] == [0, 200]
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == 0


@pytest.mark.parametrize(("units", "cents"), [(99.9, 0), (100, 0), (104.9, 0), (105, 1), (1_005, 91), (10**9, 500)])
async def test_credit_rounding_and_cap_apply_once_per_line(town, units, cents):
    meter = await town.meter()
    benefit = await town.sdk.benefits.create(
        type="meter_credit", description="100 units", properties={"meter_id": meter, "units": 100, "rollover": False})
    product = await town.product("Free", FREE, per_unit(meter, "0.1", cap_amount=500))
    await town.sdk.products.update_benefits(product, benefits=[benefit.id])
    await town.subscribe(product)
    await town.use(units)
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == cents


async def test_a_bill_below_fifty_cents_is_carried_forward(town):
    meter = await town.meter()
    await town.subscribe(await town.product("Free", FREE, per_unit(meter, "1")))
    await town.use(30)
    await town.clock(to="period_end")
    small = (await town.orders())[0]
    assert (small.total_amount, small.applied_balance_amount, small.due_amount, small.paid) == (30, -30, 0, True)
    await town.use(40)
    await town.clock(to="period_end")
    second = (await town.orders())[0]
    assert (second.total_amount, second.applied_balance_amount, second.due_amount) == (40, 30, 70)


async def test_old_timestamps_are_billed_in_the_current_period(town):
    meter = await town.meter()
    await town.subscribe(await town.product("Free", FREE, per_unit(meter, "1")))
    await town.use(100, timestamp="2024-01-01T00:00:00Z")
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == 100


async def test_usage_without_a_subscription_at_the_billing_run_is_never_billed(town):
    meter = await town.meter()
    product = await town.product("Free", FREE, per_unit(meter, "1"))
    await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    await town.use(100)
    await town.clock(seconds=901)
    await town.subscribe(product)
    await town.use(60)
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == 60


async def test_a_canceled_subscription_lasts_until_its_period_ends(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT))
    canceled = await town.sdk.subscriptions.update(subscription, cancel_at_period_end=True)
    assert (canceled.status, canceled.cancel_at_period_end) == ("active", True)
    with pytest.raises(PolarClientError) as error:
        await town.sdk.subscriptions.update(subscription, cancel_at_period_end=True)
    assert error.value.status_code == 403
    resumed = await town.sdk.subscriptions.update(subscription, cancel_at_period_end=False)
    assert (resumed.cancel_at_period_end, resumed.ends_at) == (False, None)
    await town.sdk.subscriptions.update(subscription, cancel_at_period_end=True)
    await town.clock(to="period_end")
    ended = await town.sdk.subscriptions.get(subscription)
    assert (ended.status, ended.ends_at) == ("canceled", canceled.ends_at)
    await town.receiver.wait_for("subscription.revoked")
    assert len(await town.orders()) == 1


async def test_the_state_follows_subscription_benefits_and_usage(town):
    meter = await town.meter()
    flag = await town.sdk.benefits.create(type="feature_flag", description="Pro models", properties={})
    product = await town.product("Free", FREE, per_unit(meter, "1"))
    await town.sdk.products.update_benefits(product, benefits=[flag.id])
    subscription = await town.subscribe(product)
    state = await town.state_when(lambda state: state.active_subscriptions)
    assert [grant.benefit_id for grant in state.granted_benefits] == [flag.id]
    await town.use(12.5)
    state = await town.state_when(lambda state: state.active_meters and state.active_meters[0].consumed_units)
    assert (state.active_meters[0].consumed_units, state.active_meters[0].balance) == (12.5, -12.5)
    await town.sdk.subscriptions.revoke(subscription)
    state = await town.state_when(lambda state: not state.active_subscriptions)
    assert state.granted_benefits == []


async def test_a_failing_renewal_is_past_due_until_it_is_paid_in_the_portal(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT), card="4000 0000 0000 0341")
    await town.state_when(lambda state: state.active_subscriptions)
    await town.clock(to="period_end")
    assert (await town.sdk.subscriptions.get(subscription)).status == "past_due"
    await town.receiver.wait_for("subscription.past_due")
    await town.state_when(lambda state: not state.active_subscriptions)
    session = await town.sdk.customer_sessions.create(external_customer_id="acct", return_url="https://app.example/")
    portal = await town.browser.get(session.customer_portal_url)
    assert "Past due" in portal.text
    assert 'href="https://app.example/"' in portal.text
    await town.browser.post(f"{town.url}/polar/portal", data={"token": session.token, "action": "pay"})
    assert (await town.sdk.subscriptions.get(subscription)).status == "active"
    assert [order.status for order in await town.orders()] == ["paid", "paid"]


async def test_a_renewal_that_is_never_paid_is_revoked_after_the_last_retry(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT), card="4000000000000341")
    await town.clock(to="period_end")
    for days in (2, 5, 7):
        await town.clock(seconds=days * 86_400 + 60)
        assert (await town.sdk.subscriptions.get(subscription)).status == "past_due"
    await town.clock(seconds=7 * 86_400 + 60)
    assert (await town.sdk.subscriptions.get(subscription)).status == "canceled"


async def test_switching_to_a_flat_rate_invoices_now_and_drops_usage(town):
    meter = await town.meter()
    subscription = await town.subscribe(await town.product("Free", FREE, per_unit(meter, "1")))
    await town.use(500)
    await town.clock(seconds=901)
    flat = await town.product("Flat rate", FLAT)
    await town.sdk.subscriptions.update(subscription, product_id=flat, proration_behavior="invoice")
    charged = (await town.orders())[0]
    assert charged.billing_reason == "subscription_update"
    assert 19_990 <= charged.total_amount <= 20_000
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == 20_000


async def test_switching_with_the_next_period_bills_the_usage_of_the_old_product(town):
    meter = await town.meter()
    subscription = await town.subscribe(await town.product("Free", FREE, per_unit(meter, "1")))
    flat = await town.product("Flat rate", FLAT)
    changed = await town.sdk.subscriptions.update(subscription, product_id=flat, proration_behavior="next_period")
    assert changed.pending_update.product_id == flat
    await town.use(500)
    await town.clock(to="period_end")
    assert (await town.orders())[0].total_amount == 20_500
    renewed = await town.sdk.subscriptions.get(subscription)
    assert (renewed.product_id, renewed.pending_update) == (flat, None)


async def test_the_clock_moves_only_forward_and_only_for_json(town):
    url = f"{town.url}/polar/_emulator/clock"
    assert (await town.browser.post(url, json={"seconds": -1})).status_code == 422
    assert (await town.browser.post(url, json={"to": "period_end"})).status_code == 422
    assert (await town.browser.post(url, content='{"seconds": 1}')).status_code == 415
    before = (await town.overview())["now"]
    await town.clock(seconds=3600)
    assert (await town.overview())["now"] > before


async def test_a_switch_that_cannot_be_paid_changes_nothing(town):
    free = await town.product("Nothing", FREE)
    await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    subscription = await town.sdk.subscriptions.create(product_id=free, external_customer_id="acct")
    flat = await town.product("Flat rate", FLAT)
    with pytest.raises(PolarClientError) as error:
        await town.sdk.subscriptions.update(subscription.id, product_id=flat, proration_behavior="invoice")
    assert error.value.status_code == 402
    assert (await town.sdk.subscriptions.get(subscription.id)).product_id == free
    assert await town.orders() == []


async def test_a_downgrade_prorated_to_the_next_invoice_lowers_it(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT))
    small = await town.product("Small", {"amount_type": "fixed", "price_amount": 10_000})
    await town.sdk.subscriptions.update(subscription, product_id=small, proration_behavior="prorate")
    assert len(await town.orders()) == 1
    await town.clock(to="period_end")
    assert 0 <= (await town.orders())[0].total_amount <= 10
