"""The SDK as we use it: its fault that we mend, our errors, our numbers, and the signatures of webhooks."""

import base64
import hashlib
import hmac
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.polar import BadSignature, Polar, verify_webhook
from chatapp.clients.polar_types import PolarEvent
from chatapp.db import Database, now
from chatapp.settings import Settings, Vendor, load
from emulators.faults import Fault
from tests.billing.town import Town, open_town

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes or so.").decode()
BODY = b'{"type":"subscription.active","data":{}}'


@pytest.fixture
def settings() -> Settings:
    return load({"LIMITS": "on"})


@pytest.fixture
async def town(sqlite_db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(sqlite_db, settings, tmp_path) as opened:
        yield opened


def signed(key: bytes, body: bytes = BODY, *, at: float | None = None, message_id: str = "msg_1") -> dict[str, str]:
    timestamp = str(int(at if at is not None else time.time()))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode()}


def test_the_sdks_fault_that_we_mend_is_still_there() -> None:
    """When this fails, polar-sdk reads active subscriptions by itself: remove the correction in polar_types.py."""
    program = (
        "from polar.base import deserialize, PolarDeserializationError\n"
        "from polar.v2026_10 import outputs\n"
        "import typing\n"
        "field = typing.get_type_hints(outputs.CustomerStateSubscription)['status']\n"
        "try: deserialize('active', field)\n"
        "except PolarDeserializationError: print('refused')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "refused\n"


@given(st.integers(0, 10**13))
def test_micro_dollars_reach_polar_as_they_are(nanousd: int) -> None:
    value = Decimal(nanousd) / 1000
    event = PolarEvent("usage", "id", "customer", None, {}, {"charge_microusd": value}).as_json()
    assert Decimal(repr(event["metadata"]["charge_microusd"])) == value


def test_a_number_that_json_would_change_is_not_sent() -> None:
    with pytest.raises(ValueError, match="without changing it"):
        PolarEvent("usage", "id", "c", None, {}, {"n": Decimal("0.12345678901234567890")}).as_json()


@pytest.mark.parametrize("key", [SECRET.encode(), b"a key of thirty-two bytes or so."], ids=["whole", "decoded"])
def test_both_forms_of_the_webhook_key_are_accepted(key: bytes) -> None:
    verify_webhook(BODY, signed(key), SECRET)


@pytest.mark.parametrize("at", [-301, 301])
def test_a_replayed_or_postdated_webhook_is_refused(at: int) -> None:
    with pytest.raises(BadSignature, match="timestamp"):
        verify_webhook(BODY, signed(SECRET.encode(), at=time.time() + at), SECRET)


def test_a_changed_body_a_wrong_key_and_missing_headers_are_refused() -> None:
    good = signed(SECRET.encode())
    for body, headers in ((BODY + b" ", good), (BODY, signed(b"wrong")), (BODY, {}), (b"\xff", good),
                          (BODY, {**good, "webhook-id": "msg_2"})):
        with pytest.raises(BadSignature):
            verify_webhook(body, headers, SECRET)


def test_types_that_the_sdk_does_not_know_are_verified_like_all_others() -> None:
    body = b'{"type":"moon.landed"}'
    verify_webhook(body, signed(SECRET.encode(), body), SECRET)
    verify_webhook(b"no json", signed(SECRET.encode(), b"no json"), SECRET)


async def test_an_active_subscription_can_be_read_in_the_customers_state(town: Town) -> None:
    catalog, polar = town.services.polar.catalog, town.services.polar
    product = await catalog.create_monthly_product("k", name="Product", description="All of it.", fixed_cents=500)
    checkout = await polar.create_checkout(
        product_id=product, external_id="acct", email="ada@example.com", success_url="https://a.example/",
        return_url="https://a.example/", metadata={"plan": "p"})
    await town.pay(checkout.url)
    assert (await polar.get_checkout(checkout.id)).status == "succeeded"
    subscription = (await polar.subscriptions_of("acct"))[0]
    assert (subscription.product_id, subscription.status) == (product, "active")
    assert subscription.current_period_end is not None
    assert subscription.current_period_start < subscription.current_period_end

    async def shown() -> bool:
        state = await polar.customer_state("acct")
        return state is not None and state.active_product_ids == (product,)
    from tests.billing.town import until
    await until(shown)


async def test_an_unknown_customer_has_no_state_and_no_subscriptions(town: Town) -> None:
    assert await town.services.polar.customer_state("nobody") is None
    assert await town.services.polar.subscriptions_of("nobody") == []


async def test_a_meter_quantity_is_exact_to_three_decimals(town: Town) -> None:
    polar = town.services.polar
    meter = await polar.catalog.create_sum_meter("m", name="Numbers", event_name="usage", property_name="n",
                                                 label="USD", multiplier=1_000_000)
    await polar.ingest([PolarEvent("usage", f"e{i}", "acct", None, {}, {"n": Decimal("0.1")}) for i in range(30)])
    quantity = await polar.meter_quantity(meter, now() - timedelta(days=1000), now() + timedelta(days=1000))
    assert quantity == Decimal("3.000")


@pytest.mark.parametrize(("fault", "may_have_run"), [
    (Fault.DOWN, True), (Fault.SERVER_ERROR, True), (Fault.LOST_ANSWER, True), (Fault.TOO_MANY_REQUESTS, False)])
async def test_a_bad_moment_of_polar_is_unavailable(town: Town, fault: Fault, may_have_run: bool) -> None:
    town.fault(fault)
    with pytest.raises(Unavailable) as error:
        await town.services.polar.subscriptions_of("acct")
    assert error.value.may_have_run is may_have_run
    assert error.value.retry_after_seconds == (1 if fault is Fault.TOO_MANY_REQUESTS else None)


async def test_a_slow_polar_is_unavailable_after_the_timeout(town: Town) -> None:
    impatient = Polar(town.services.settings.polar, timeout_seconds=0.1)
    town.fault(Fault.SLOW, seconds=0.5)
    with pytest.raises(Unavailable):
        await impatient.subscriptions_of("acct")
    await impatient.close()


async def test_where_nobody_listens_certainly_nothing_was_done() -> None:
    nobody = Polar(Vendor("key", "http://127.0.0.1:9", emulated=True))
    with pytest.raises(Unavailable) as error:
        await nobody.subscriptions_of("acct")
    await nobody.close()
    assert not error.value.may_have_run


async def test_polars_no_is_rejected_with_its_status(town: Town) -> None:
    with pytest.raises(Rejected) as error:
        await town.services.polar.ingest([PolarEvent("x" * 129, "e", "c", None)])
    assert error.value.status == 422
    with pytest.raises(Rejected) as error:
        await town.services.polar.get_checkout("00000000-0000-4000-8000-000000000000")
    assert error.value.status == 404
