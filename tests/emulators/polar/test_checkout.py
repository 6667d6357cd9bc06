"""Checkout, portal and invoice: what a customer sees, and what comes of it."""

import asyncio

import httpx
import pytest
from polar.base import PolarClientError

from tests.emulators.polar.prices import FLAT, FREE


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


async def test_the_portal_cancels_and_resumes(town):
    subscription = await town.subscribe(await town.product("Flat rate", FLAT))
    session = await town.sdk.customer_sessions.create(external_customer_id="acct")
    for action, expected in (("cancel", True), ("resume", False)):
        done = await town.browser.post(f"{town.url}/polar/portal", data={"token": session.token, "action": action})
        assert done.status_code == 303
        assert (await town.sdk.subscriptions.get(subscription)).cancel_at_period_end is expected
    refused = await town.browser.post(f"{town.url}/polar/portal", data={"token": "x", "action": "cancel"})
    assert refused.status_code == 401


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
