"""Invariant 7, and the way from a checkout to a plan: the plan shown is Polar's current one."""

import asyncio
import re
from datetime import timedelta

import pytest
from sqlmodel import select

from chatapp.billing import checkout, delivery, inbox, outbox, provision, subscriptions
from chatapp.billing.reconcile import reconcile
from chatapp.billing.texts import BillingRefused
from chatapp.clients.errors import Unavailable
from chatapp.db import now
from chatapp.models import InboxMessage, Subscription
from emulators.faults import Fault
from tests.billing.conftest import new_account
from tests.billing.town import Town, until


async def plan_becomes(town: Town, account: str, plan: str) -> None:
    """Work on webhooks until the plan is there."""
    async def there() -> bool:
        await inbox.process(town.services)
        return town.plan(account) == plan
    await until(there)


async def buy(town: Town, account: str, plan: str, email: str = "ada@example.com") -> None:
    await town.pay(await checkout.start(town.services, account, email, plan))
    await plan_becomes(town, account, plan)


def received(town: Town) -> list[InboxMessage]:
    with town.db.reading() as session:
        return list(session.exec(select(InboxMessage)).all())


async def quiet(town: Town) -> None:
    """Until every webhook has been sent and worked on."""
    async def settled() -> bool:
        await inbox.process(town.services)
        url = f"{town.services.settings.polar.url}/_emulator/overview"
        sent = (await town.browser.get(url)).json()["webhooks"]
        return all(each["state"] == "delivered" for each in sent) and all(m.processed_at for m in received(town))
    await until(settled)


@pytest.mark.parametrize("plan", ["pay_per_use", "unlimited"])
async def test_paying_at_the_checkout_brings_the_plan_by_webhook(town: Town, account: str, plan: str) -> None:
    url = await checkout.start(town.services, account, "ada@example.com", plan)
    assert town.plan(account) == "free"
    sent_to = await town.pay(url)
    assert re.fullmatch(r"http://[^/]+/checkout/success/\?checkout_id=[0-9a-f-]{36}", sent_to)
    await plan_becomes(town, account, plan)


async def test_from_checkout_to_invoice_every_figure_agrees(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    for _ in range(9):
        town.use(account, cost_usd="0.0123456789")
    assert await delivery.deliver(town.services) == 9
    assert await reconcile(town.services) == []
    with town.db.reading() as session:
        meter_id = provision.required(session, town.services.settings).meter_id

    async def counted() -> bool:
        state = await town.services.polar.customer_state(account)
        return state is not None and float(state.consumed_units.get(meter_id, 0)) == 133_333.335
    await until(counted)


@pytest.mark.parametrize(("plan", "email", "code"), [
    ("gold", "ada@example.com", "unknown_plan"), ("free", "ada@example.com", "unknown_plan"),
    ("unlimited", "", "sign_in_first"),
])
async def test_what_cannot_be_bought_is_refused(town: Town, account: str, plan: str, email: str, code: str) -> None:
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, email, plan)
    assert refused.value.code == code


async def test_the_plan_that_one_has_is_not_sold_again(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert refused.value.code == "already_subscribed"


async def test_another_accounts_email_at_polar_is_refused_and_a_free_one_is_adopted(town: Town, account: str) -> None:
    await town.services.polar.ensure_customer(new_account(town.db), "taken@example.com")
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, "taken@example.com", "unlimited")
    assert refused.value.code == "email_taken"
    lone = await town.services.polar._sdk.customers.create(email="lone@example.com")
    assert await town.services.polar.ensure_customer(account, "lone@example.com") == lone.id


async def test_a_first_purchase_clicked_twice_makes_one_customer(town: Town, account: str) -> None:
    made = await asyncio.gather(*(town.services.polar.ensure_customer(account, "a@example.com") for _ in range(5)))
    assert len(set(made)) == 1


async def test_switching_to_the_flat_plan_delivers_what_is_pending_first(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    town.use(account)
    url = await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert url.endswith("/?notice=plan_changed")
    assert outbox.pending(town.db, "usage") == 0
    assert town.plan(account) == "unlimited"


async def test_no_switch_while_usage_cannot_be_delivered(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    town.use(account)
    town.fault(Fault.SERVER_ERROR, path="events/ingest")
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert refused.value.code == "usage_pending"
    assert town.plan(account) == "pay_per_use"


async def test_the_flat_plan_is_used_up_before_paying_per_use(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    url = await checkout.start(town.services, account, "ada@example.com", "pay_per_use")
    assert url.endswith("/?notice=plan_changes_later")
    assert town.plan(account) == "unlimited"


async def test_an_outage_of_polar_refuses_the_checkout_and_nothing_else(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    town.fault(Fault.DOWN)
    for action in (checkout.start(town.services, account, "ada@example.com", "unlimited"),
                   checkout.portal(town.services, account)):
        with pytest.raises(BillingRefused) as refused:
            await action
        assert refused.value.code == "billing_unavailable"
    town.use(account)
    assert town.plan(account) == "pay_per_use"


async def test_the_portal_opens_for_customers_and_says_so_to_others(town: Town, account: str) -> None:
    with pytest.raises(BillingRefused) as refused:
        await checkout.portal(town.services, account)
    assert refused.value.code == "no_invoices_yet"
    await buy(town, account, "unlimited")
    shown = await town.browser.get(await checkout.portal(town.services, account), follow_redirects=True)
    assert shown.status_code == 200
    assert "Unlimited" in shown.text


@pytest.mark.parametrize("fault", [Fault.WEBHOOK_TWICE, Fault.WEBHOOK_LATE, Fault.WEBHOOK_FORGED])
async def test_webhooks_twice_late_or_forged_lead_to_polars_current_plan(
    town: Town, account: str, fault: Fault
) -> None:
    town.fault(fault)
    await buy(town, account, "unlimited")
    subscription = (await town.services.polar.subscriptions_of(account))[0]
    await town.services.polar._sdk.subscriptions.revoke(subscription.id)
    await plan_becomes(town, account, "free")
    town.mend()
    await quiet(town)
    assert town.plan(account) == "free"


async def test_old_webhooks_processed_after_new_ones_change_nothing(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    await quiet(town)
    old = next(message for message in received(town) if message.type == "subscription.active")
    subscription = (await town.services.polar.subscriptions_of(account))[0]
    await town.services.polar._sdk.subscriptions.revoke(subscription.id)
    await plan_becomes(town, account, "free")
    await quiet(town)
    with town.db.session() as session:
        session.add(InboxMessage(id="late", source="polar", type=old.type, body=old.body))
    assert await inbox.process(town.services) == 1
    assert town.plan(account) == "free"


async def test_an_answer_that_was_asked_for_earlier_never_replaces_a_later_one(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    earlier = now() - timedelta(minutes=1)
    subscriptions._write(town.services, account, [], earlier)
    assert town.plan(account) == "unlimited"
    subscriptions._write(town.services, account, [], now())
    assert town.plan(account) == "free"


async def test_cancelling_at_the_periods_end_does_not_end_access(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    subscription = (await town.services.polar.subscriptions_of(account))[0]
    await town.services.polar._sdk.subscriptions.update(subscription.id, cancel_at_period_end=True)
    assert (await subscriptions.refresh(town.services, account)).key == "unlimited"
    with town.db.reading() as session:
        row = session.get(Subscription, account)
    assert row is not None
    assert row.cancel_at_period_end
    assert row.ends_at == row.current_period_end
    ended = subscriptions.plan_of(town.db, account, town.services.settings, row.ends_at)
    assert ended.key == "free"


async def test_a_webhook_that_never_came_is_made_up_for_by_the_hourly_poll(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    await quiet(town)
    subscription = (await town.services.polar.subscriptions_of(account))[0]
    await town.services.polar._sdk.subscriptions.revoke(subscription.id)
    assert await subscriptions.refresh_stale(town.services, timedelta(hours=1)) == 0
    assert await subscriptions.refresh_stale(town.services, timedelta(0)) == 1
    assert town.plan(account) == "free"


async def test_a_refresh_during_an_outage_leaves_the_plan_as_it_was(town: Town, account: str) -> None:
    await buy(town, account, "unlimited")
    await quiet(town)
    town.fault(Fault.DOWN)
    with pytest.raises(Unavailable):
        await subscriptions.refresh(town.services, account)
    assert town.plan(account) == "unlimited"


async def test_a_first_purchase_whose_webhook_never_came_is_found_by_the_poll(town: Town, account: str) -> None:
    abandoned = new_account(town.db)
    await town.pay(await checkout.start(town.services, account, "ada@example.com", "unlimited"))
    await checkout.start(town.services, abandoned, "bob@example.com", "unlimited")
    with town.db.session() as session:
        row = session.get(Subscription, abandoned)
        assert row is not None
        row.checkout_at = now() - subscriptions.CHECKOUT_WATCHED
    assert town.plan(account) == "free"
    assert await subscriptions.refresh_stale(town.services, timedelta(0)) == 1
    assert town.plan(account) == "unlimited"


async def test_the_poll_stops_at_an_outage(town: Town, account: str) -> None:
    await checkout.start(town.services, account, "ada@example.com", "unlimited")
    town.fault(Fault.DOWN)
    with pytest.raises(Unavailable):
        await subscriptions.refresh_stale(town.services, timedelta(0))
