"""Webhooks: their form, their signature, and everything that can go wrong with their delivery."""

import asyncio
import json
import time
from dataclasses import replace

import httpx
import pytest
from polar.base import PolarClientError
from polar.v2026_10.webhooks import PolarWebhookVerificationError, validate_event
from starlette.applications import Starlette
from starlette.routing import Mount

from emulators import polar as emulator
from emulators.clock import Clock
from emulators.faults import Fault, Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.polar.conftest import FAST
from tests.emulators.polar.contract import recorded, schema_problems
from tests.emulators.polar.prices import FLAT, FREE, per_unit

# Extra keys that the webhooks' documented payloads, or newer versions of the interface, have.
NEWER = {"is_deletable", "units", "seats"}


async def everything(town) -> None:
    """A life with all that the emulator tells of."""
    meter = await town.meter()
    flag = await town.sdk.benefits.create(type="feature_flag", description="Pro models", properties={})
    credit = await town.sdk.benefits.create(
        type="meter_credit", description="100 units", properties={"meter_id": meter, "units": 100, "rollover": False})
    product = await town.product("Free", FREE, per_unit(meter, "1"))
    await town.sdk.products.update_benefits(product, benefits=[flag.id, credit.id])
    subscription = await town.subscribe(product)
    await town.state_when(lambda state: state.granted_benefits)
    await town.sdk.customers.update_external("acct", name="Ada Lovelace")
    await town.sdk.subscriptions.update(subscription, cancel_at_period_end=True)
    await town.sdk.subscriptions.update(subscription, cancel_at_period_end=False)
    await town.use(700)
    await town.clock(to="period_end")
    await town.sdk.subscriptions.revoke(subscription)
    await town.state_when(lambda state: not state.active_subscriptions)
    await town.sdk.customers.delete_external("acct")
    await town.receiver.wait_for("customer.deleted")


async def a_failing_renewal(town) -> None:
    """Past due with the benefits revoked, then paid, with the benefits granted again."""
    flag = await town.sdk.benefits.create(type="feature_flag", description="Everything", properties={})
    flat = await town.product("Flat rate", FLAT)
    await town.sdk.products.update_benefits(flat, benefits=[flag.id])
    await town.subscribe(flat, "late", card="4000 0000 0000 0341")
    await town.state_when(lambda state: state.granted_benefits, "late")
    await town.clock(to="period_end")
    await town.state_when(lambda state: not state.granted_benefits, "late")
    session = await town.sdk.customer_sessions.create(external_customer_id="late")
    await town.browser.post(f"{town.url}/polar/portal", data={"token": session.token, "action": "pay"})
    await town.state_when(lambda state: state.granted_benefits, "late")


async def test_the_sdk_accepts_every_type_that_the_emulator_sends(town):
    await everything(town)
    await a_failing_renewal(town)
    wanted = {
        "subscription.past_due", "subscription.cycled", "benefit_grant.updated", "benefit_grant.cycled",
        "customer.created", "customer.updated", "customer.deleted", "customer.state_changed", "subscription.created",
        "subscription.active", "subscription.updated", "subscription.canceled", "subscription.uncanceled",
        "subscription.revoked", "order.created", "order.paid", "checkout.created", "checkout.updated",
        "benefit_grant.created", "benefit_grant.revoked"}
    for kind in wanted:
        await town.receiver.wait_for(kind)
    secret = town.world.config.polar_webhook_secret
    for hook in town.receiver.hooks:
        event = validate_event(hook.body, hook.headers, secret)
        assert event.type == hook.payload["type"]
        name = "Webhook" + "".join(part.title() for part in event.type.replace("_", ".").split(".")) + "Payload"
        assert schema_problems(name, hook.payload) == []


async def test_webhooks_have_the_recorded_keys(town):
    await everything(town)
    for hook in recorded("polar-webhooks.jsonl"):
        theirs = json.loads(hook["body"])
        ours = (await town.receiver.wait_for(theirs["type"]))[0]
        assert set(map(str.lower, hook["headers"])) - {"traceparent"} == set(ours.headers)
        assert ours.headers["user-agent"] == hook["headers"]["user-agent"]
        assert keys(theirs) - keys(ours.payload) == set()
        assert {key for key in keys(ours.payload) - keys(theirs) if key.rsplit(".", 1)[-1] not in NEWER} <= {
            # The recorded product has but one benefit, without a text in its metadata.
            ".data.product.benefits[].metadata.flag"}


def keys(value, at: str = "") -> set[str]:
    """All paths of a JSON value, but those within benefits' and states' lists, which differ in what they list."""
    if isinstance(value, dict):
        return {at + "." + key for key in value} | {
            deep for key in value for deep in keys(value[key], f"{at}.{key}")}
    if isinstance(value, list):
        return {deep for each in value for deep in keys(each, at + "[]")}
    return set()


async def test_a_receiver_that_fails_gets_the_same_id_again_until_it_acknowledges(town):
    town.receiver.answers = [500, 404, 302]
    await town.sdk.customers.create(email="acct@example.com", external_id="acct")
    hooks = await town.receiver.wait_for("customer.created")
    deadline = time.monotonic() + 10
    while len(town.receiver.hooks) < 5:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    ids = [hook.headers["webhook-id"] for hook in town.receiver.hooks]
    assert len(ids) == 5
    assert len(set(ids)) == 2
    assert hooks[0].headers["webhook-id"] in ids
    failed = await town.sdk.webhooks.list_webhook_deliveries(succeeded=False)
    assert sorted(delivery.http_code for delivery in failed.items) == [302, 404, 500]


async def test_after_ten_attempts_a_webhook_is_given_up_and_can_be_redelivered(town):
    town.receiver.answers = [500] * 10
    checkout = await town.sdk.checkouts.create(products=[await town.product("Flat rate", FLAT)])
    deadline = time.monotonic() + 10
    while not (seen := (await town.overview())["webhooks"]) or seen[0]["state"] != "failed":
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.02)
    assert len(town.receiver.hooks) == 10
    await town.sdk.webhooks.redeliver_webhook_event(seen[0]["id"])
    hooks = await town.receiver.wait_for("checkout.created", 11)
    assert {hook.headers["webhook-id"] for hook in hooks} == {seen[0]["id"]}
    assert hooks[-1].payload["data"]["id"] == checkout.id


@pytest.mark.parametrize("settings", [emulator.Settings(
    requests_per_minute=100_000, webhook_delays_seconds=(), failures_until_disabled=2, tick_seconds=0.02)])
async def test_failures_in_a_row_disable_the_endpoint(town):
    town.receiver.answers = [500] * 3
    product = await town.product("Flat rate", FLAT)
    for _ in range(3):
        await town.sdk.checkouts.create(products=[product])
    deadline = time.monotonic() + 10
    while (await town.overview())["webhook_endpoints"][0]["enabled"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    endpoint = (await town.sdk.webhooks.list_webhook_endpoints()).items[0]
    enabled = await town.sdk.webhooks.update_webhook_endpoint(endpoint.id, enabled=True)
    assert enabled.enabled is True


async def test_a_doubled_webhook_comes_twice_under_one_id(town):
    town.world.faults.switch_on("polar", Fault.WEBHOOK_TWICE, times=1, path="checkout.created")
    await town.sdk.checkouts.create(products=[await town.product("Flat rate", FLAT)])
    first, second = await town.receiver.wait_for("checkout.created", 2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_a_late_webhook_waits_for_the_given_time(town):
    town.world.faults.switch_on("polar", Fault.WEBHOOK_LATE, times=1, seconds=0.3)
    before = time.monotonic()
    await town.sdk.checkouts.create(products=[await town.product("Flat rate", FLAT)])
    await town.receiver.wait_for("checkout.created")
    assert time.monotonic() - before >= 0.3


async def test_a_forged_webhook_comes_beside_the_true_one_and_is_refused_by_the_sdk(town):
    town.world.faults.switch_on("polar", Fault.WEBHOOK_FORGED, times=1)
    await town.sdk.checkouts.create(products=[await town.product("Flat rate", FLAT)])
    forged, true = await town.receiver.wait_for("checkout.created", 2)
    secret = town.world.config.polar_webhook_secret
    with pytest.raises(PolarWebhookVerificationError):
        validate_event(forged.body, forged.headers, secret)
    assert validate_event(true.body, true.headers, secret).type == "checkout.created"
    assert forged.headers["webhook-id"] != true.headers["webhook-id"]


async def test_deliveries_go_on_after_a_restart(town, tmp_path):
    config = replace(town.world.config, database=tmp_path / "other.db")

    def start() -> World:
        store = Store(config.database)
        return World(config, store, Clock(store), Faults(store))

    before = start()
    app = Starlette(routes=[Mount("/polar", routes=emulator.routes(before, FAST))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=town.url) as client:
        made = await client.post("/polar/v1/customers/", json={"email": "acct@example.com"},
                                 headers={"authorization": f"Bearer {config.keys['polar']}"})
    assert made.status_code == 201
    before.store.close()
    assert town.receiver.hooks == []
    after = start()
    emulator.routes(after, FAST)
    async with emulator.background(after):
        hook = (await town.receiver.wait_for("customer.created"))[0]
    after.store.close()
    assert hook.payload["data"]["id"] == made.json()["id"]


async def test_an_endpoint_may_not_be_on_the_own_network_and_receives_only_what_it_asked_for(town):
    with pytest.raises(PolarClientError) as error:
        await town.sdk.webhooks.create_webhook_endpoint(
            url="https://10.0.0.1/hook", format="raw", events=["order.paid"], api_version="2026-10")
    assert error.value.status_code == 422
    made = await town.sdk.webhooks.create_webhook_endpoint(
        url="https://hooks.example.com/polar", format="raw", events=["order.paid"], api_version="2026-10")
    assert made.secret.startswith("whsec_")
    assert (await town.sdk.webhooks.update_webhook_endpoint(made.id, name="Ours")).name == "Ours"
    await town.sdk.webhooks.delete_webhook_endpoint(made.id)
    assert len((await town.sdk.webhooks.list_webhook_endpoints()).items) == 1


def test_the_real_settings_make_ten_attempts_over_half_an_hour():
    pauses = emulator.Settings().webhook_delays_seconds
    assert (len(pauses) + 1, 1500 < sum(pauses) < 2400, FAST.webhook_delays_seconds[0] < 1) == (10, True, True)
