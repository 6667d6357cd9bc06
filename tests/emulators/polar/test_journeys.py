"""The ways of a customer through checkout, usage, renewal and end, with the real SDK."""

import asyncio

import httpx
import pytest
from polar.base import PolarClientError

FLAT = {"amount_type": "fixed", "price_amount": 20_000}
FREE = {"amount_type": "fixed", "price_amount": 0}


def per_unit(meter_id, cents, **fields):
    return {"amount_type": "metered_unit", "meter_id": meter_id, "unit_amount": cents, **fields}


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


async def test_a_declined_card_leaves_the_checkout_open_and_a_good_one_then_works(town):
    product = await town.product("Flat rate", FLAT)
    checkout = await town.sdk.checkouts.create(
        products=[product], external_customer_id="acct", customer_email="acct@example.com",
        success_url="https://app.example/ok?checkout_id={CHECKOUT_ID}", return_url="https://app.example/plans")
    page = await town.browser.get(checkout.url)
    assert "Flat rate" in page.text
    assert "$200.00 / month" in page.text
    assert "no money moves" in page.text
    assert "https://app.example/plans" in page.text
    declined = await town.pay(checkout.url, "4000 0000 0000 0002")
    assert declined.status_code == 400
    assert "Your card was declined" in declined.text
    assert (await town.sdk.checkouts.get(checkout.id)).status == "open"
    assert await town.sdk.customers.list() is not None
    assert (await town.overview())["subscriptions"] == []
    paid = await town.pay(checkout.url)
    assert (paid.status_code, paid.headers["location"]) == (303, f"https://app.example/ok?checkout_id={checkout.id}")
    assert (await town.sdk.checkouts.get(checkout.id)).status == "succeeded"
    assert [(order.total_amount, order.paid) for order in await town.orders()] == [(20_000, True)]


async def test_a_second_submit_of_a_checkout_makes_nothing_twice(town):
    product = await town.product("Flat rate", FLAT)
    checkout = await town.sdk.checkouts.create(
        products=[product], external_customer_id="acct", customer_email="acct@example.com",
        success_url="https://app.example/ok")
    answers = await asyncio.gather(town.pay(checkout.url), town.pay(checkout.url))
    answers.append(await town.pay(checkout.url))
    assert {answer.headers["location"] for answer in answers} == {"https://app.example/ok"}
    seen = await town.overview()
    assert [len(seen[key]) for key in ("customers", "subscriptions", "orders")] == [1, 1, 1]


async def test_an_active_subscriber_cannot_check_out_another_subscription(town):
    product = await town.product("Flat rate", FLAT)
    await town.subscribe(product)
    checkout = await town.sdk.checkouts.create(products=[product], external_customer_id="acct")
    refused = await town.pay(checkout.url)
    assert refused.status_code == 403
    assert "You already have an active subscription." in refused.text
    assert len((await town.overview())["subscriptions"]) == 1
    assert (await town.sdk.checkouts.get(checkout.id)).status == "open"


async def test_an_unpaid_checkout_expires(town):
    checkout = await town.sdk.checkouts.create(products=[await town.product("Flat rate", FLAT)])
    await town.clock(seconds=24 * 3600 + 1)
    assert (await town.sdk.checkouts.get(checkout.id)).status == "expired"
    late = await town.pay(checkout.url, email="late@example.com")
    assert late.status_code == 410
    await town.receiver.wait_for("checkout.expired")


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


async def test_the_portal_cancels_and_resumes(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT))
    session = await town.sdk.customer_sessions.create(external_customer_id="acct")
    for action, expected in (("cancel", True), ("resume", False)):
        done = await town.browser.post(f"{town.url}/polar/portal", data={"token": session.token, "action": action})
        assert done.status_code == 303
        assert (await town.sdk.subscriptions.get(subscription)).cancel_at_period_end is expected
    refused = await town.browser.post(f"{town.url}/polar/portal", data={"token": "x", "action": "cancel"})
    assert refused.status_code == 401


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


async def test_an_invoice_needs_billing_details(town):
    await town.subscribe(await town.product("Flat rate", FLAT))
    order = (await town.orders())[0]
    with pytest.raises(PolarClientError) as error:
        await town.sdk.orders.generate_invoice(order.id)
    assert error.value.status_code == 422
    await town.sdk.orders.update(order.id, billing_name="Ada", billing_address={"country": "SE"})
    await town.sdk.orders.generate_invoice(order.id)
    invoice = await town.sdk.orders.invoice(order.id)
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert "$200.00" in (await browser.get(invoice.url)).text


async def test_a_deleted_customer_frees_both_names_and_keeps_the_orders(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT))
    await town.sdk.customers.delete_external("acct")
    assert (await town.sdk.subscriptions.get(subscription)).status == "canceled"
    assert len((await town.overview())["orders"]) == 1
    again = await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    assert again.external_id == "acct"
    await town.receiver.wait_for("customer.deleted")


async def test_the_clock_moves_only_forward_and_only_for_json(town):
    url = f"{town.url}/polar/_emulator/clock"
    assert (await town.browser.post(url, json={"seconds": -1})).status_code == 422
    assert (await town.browser.post(url, json={"to": "period_end"})).status_code == 422
    assert (await town.browser.post(url, content='{"seconds": 1}')).status_code == 415
    before = (await town.overview())["now"]
    await town.clock(seconds=3600)
    assert (await town.overview())["now"] > before


async def test_a_checkout_without_a_known_customer_asks_for_the_address_and_finds_the_customer_by_it(town):
    known = await town.sdk.customers.create(email="ada@example.com")
    product = await town.product("Flat rate", FLAT)
    checkout = await town.sdk.checkouts.create(products=[product], external_customer_id="acct")
    missing = await town.pay(checkout.url, email="")
    assert missing.status_code == 400
    assert "valid e-mail address" in missing.text
    paid = await town.pay(checkout.url, email="Ada@example.com")
    assert paid.status_code == 303
    assert "Thank you" in (await town.browser.get(paid.headers["location"])).text
    assert (await town.sdk.customers.get_external("acct")).id == known.id


async def test_a_free_subscription_is_upgraded_by_a_checkout_that_names_it(town):
    free = await town.product("Nothing", FREE)
    await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    subscription = await town.sdk.subscriptions.create(product_id=free, external_customer_id="acct")
    flat = await town.product("Flat rate", FLAT)
    checkout = await town.sdk.checkouts.create(
        products=[flat], external_customer_id="acct", subscription_id=subscription.id)
    assert (await town.pay(checkout.url)).status_code == 303
    assert (await town.sdk.subscriptions.get(subscription.id)).product_id == flat
    assert [order.total_amount for order in await town.orders()] == [20_000]


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
