"""Invariants 1 and 6: what the ledger charges is what Polar receives, once, whatever fails on the way."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlmodel import col, select

from chatapp.billing import delivery, holds, ledger, outbox, provision
from chatapp.billing.catalog import FREE, PAY_PER_USE
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import microusd
from chatapp.billing.reconcile import MARGIN, _range, _windows, local_differences, reconcile
from chatapp.db import Database, now
from chatapp.models import OutboxMessage, UsageEvent
from emulators.faults import Fault
from tests.billing.conftest import BOUND, PRICES, entitlement, new_account
from tests.billing.town import Town


def ledger_microusd(db: Database) -> Decimal:
    with db.reading() as session:
        return microusd(sum(row.charge_nanousd for row in session.exec(select(UsageEvent)).all()))


def make_due(db: Database) -> None:
    """Skip the pause before the next attempt."""
    with db.session() as session:
        for message in session.exec(select(OutboxMessage).where(col(OutboxMessage.delivered_at).is_(None))).all():
            message.next_attempt_at = message.created_at


async def polar_microusd(town: Town, account_id: str | None = None) -> Decimal:
    catalogue = await provision.apply(town.services)
    return await town.services.polar.meter_quantity(catalogue.meter_id, now() - MARGIN, now() + MARGIN,
                                                    external_id=account_id)


def spoil(db: Database, event_id: str) -> None:
    """Make an event that Polar refuses: a text longer than it takes."""
    with db.session() as session:
        message = session.exec(select(OutboxMessage).where(OutboxMessage.key == event_id)).one()
        message.payload = {**message.payload, "metadata": {**message.payload["metadata"], "kind": "x" * 501}}


async def test_usage_equals_the_ledger_equals_polars_meter(town: Town, account: str) -> None:
    for number in range(25):
        town.use(account, cost_usd=f"0.00{number}1234567")
    town.use(account, "unlimited", cost_usd="0.5")
    assert await delivery.deliver(town.services) == 26
    assert await polar_microusd(town, account) == ledger_microusd(town.db) > 0
    assert await delivery.deliver(town.services) == 0
    assert await reconcile(town.services) == []


async def test_what_polar_gets_tells_the_whole_step(town: Town, account: str) -> None:
    event_id = town.use(account)
    await delivery.deliver(town.services)
    event = (await town.events())[0]
    assert (event["name"], event["external_id"], event["external_customer_id"]) == ("usage", event_id, account)
    metadata = event["metadata"]
    assert metadata["charge_microusd"] == 2496
    assert (metadata["model"], metadata["plan"], metadata["exact"], metadata["turn"]) == (
        "gpt-x", "pay_per_use", True, "turn")
    assert metadata["_llm"]["total_tokens"] == 733
    assert Decimal(str(metadata["_cost"]["amount"])) == Decimal("0.208")


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.TOO_MANY_REQUESTS, Fault.SERVER_ERROR])
async def test_an_outage_keeps_every_event_and_a_recovery_delivers_them_once(
    town: Town, account: str, fault: Fault
) -> None:
    for _ in range(7):
        town.use(account)
    town.fault(fault)
    assert await delivery.deliver(town.services) == 0
    assert outbox.pending(town.db, "usage") == 7
    assert await delivery.deliver(town.services) == 0, "a pause comes before the next attempt"
    town.mend()
    make_due(town.db)
    assert await delivery.deliver(town.services) == 7
    assert await polar_microusd(town) == ledger_microusd(town.db)


async def test_an_answer_that_is_lost_after_the_commit_bills_nothing_twice(town: Town, account: str) -> None:
    for _ in range(5):
        town.use(account)
    town.fault(Fault.LOST_ANSWER, path="events/ingest", times=1)
    assert await delivery.deliver(town.services) == 0
    assert await polar_microusd(town) == ledger_microusd(town.db)
    make_due(town.db)
    assert await delivery.deliver(town.services) == 5
    assert await polar_microusd(town) == ledger_microusd(town.db)
    assert await reconcile(town.services) == []


async def test_a_process_that_dies_between_polars_yes_and_ours_bills_nothing_twice(town: Town, account: str) -> None:
    town.use(account)
    claimed = outbox.claim(town.db, "usage", 10, 60, now())
    await town.services.polar.ingest([delivery._event(message, now(), stamped=True) for message in claimed])
    with town.db.session() as session:
        session.exec(select(OutboxMessage)).one().lease_until = now() - timedelta(seconds=1)
    assert await delivery.deliver(town.services) == 1
    assert await polar_microusd(town) == ledger_microusd(town.db)


async def test_a_poison_event_is_parked_and_the_rest_is_delivered(town: Town, account: str) -> None:
    events = [town.use(account) for _ in range(20)]
    spoil(town.db, events[3])
    spoil(town.db, events[11])
    assert await delivery.deliver(town.services) == 18
    with town.db.reading() as session:
        parked = session.exec(select(OutboxMessage).where(col(OutboxMessage.parked_at).is_not(None))).all()
    assert {message.key for message in parked} == {events[3], events[11]}
    assert all("422" in message.reason for message in parked)
    assert outbox.pending(town.db, "usage") == 0


async def test_a_token_that_is_refused_parks_nothing(town: Town, account: str) -> None:
    from dataclasses import replace

    from chatapp.clients.polar import Polar

    town.use(account)
    stranger = Polar(replace(town.services.settings.polar, key="polar_oat_wrong"))
    assert await delivery.deliver(replace(town.services, polar=stranger)) == 0
    await stranger.close()
    with town.db.reading() as session:
        message = session.exec(select(OutboxMessage)).one()
    assert (message.parked_at, message.delivered_at) == (None, None)
    assert "401" in message.reason


async def test_an_event_from_a_clock_that_is_ahead_is_not_refused(town: Town, account: str) -> None:
    town.use(account)
    with town.db.session() as session:
        message = session.exec(select(OutboxMessage)).one()
        message.payload = {**message.payload, "occurred_at": (now() + timedelta(hours=2)).isoformat()}
    assert await delivery.deliver(town.services) == 1


async def test_an_event_that_waited_for_long_keeps_its_time(town: Town, account: str) -> None:
    town.use(account)
    then = now() - timedelta(hours=3)
    with town.db.session() as session:
        message = session.exec(select(OutboxMessage)).one()
        message.payload = {**message.payload, "occurred_at": then.isoformat()}
    await delivery.deliver(town.services)
    assert (await town.events())[0]["timestamp"].startswith(f"{then:%Y-%m-%dT%H:%M:%S}")


async def test_usage_of_an_account_that_polar_does_not_know_is_inherited_later(town: Town) -> None:
    visitor = new_account(town.db, "visitor")
    town.use(visitor)
    assert await delivery.deliver(town.services) == 1
    await town.services.polar.ensure_customer(visitor, "ada@example.com")
    assert await polar_microusd(town, visitor) == ledger_microusd(town.db)


async def test_a_difference_between_ledger_and_polar_is_reported(town: Town, account: str) -> None:
    town.use(account)
    await delivery.deliver(town.services)
    await provision.apply(town.services)
    with town.db.session() as session:
        message = session.exec(select(OutboxMessage)).one()
        message.payload = {**message.payload, "external_id": "another"}
        message.delivered_at = None
    make_due(town.db)
    await delivery.deliver(town.services)
    differences = await reconcile(town.services)
    assert await reconcile(town.services, thorough=False) == differences
    assert [(difference.account_id, difference.what) for difference in differences] == [(account, "ledger and Polar")]
    assert differences[0].theirs == 2 * differences[0].ours


async def test_parked_and_overdue_billable_events_are_reported(town: Town, account: str) -> None:
    await provision.apply(town.services)
    town.use(account)
    at = now()
    assert local_differences(town.db, at) == []
    late = local_differences(town.db, at + timedelta(minutes=61), account)
    assert [(each.what, each.ours) for each in late if each.what == "undelivered"] == [("undelivered", Decimal(2496))]
    with town.db.session() as session:
        session.exec(select(OutboxMessage)).one().parked_at = at
    assert [each.what for each in await reconcile(town.services)] == ["undelivered"]


async def test_parked_events_that_bill_nothing_are_reported(town: Town, account: str) -> None:
    await provision.apply(town.services)
    for plan in (FREE, PAY_PER_USE):
        hold = holds.place(
            town.db, entitlement(account, plan, "0.25"), turn_id="turn", thread_id="thread", kind="model",
            provider="openai", name="gpt-x", prices=PRICES, bound_cost_usd=Decimal("0.0035"), quantities_bound=BOUND,
            now=now())
        ledger.settle(town.db, hold, BOUND, exact=True, status="ok", now=now())
    with town.db.session() as session:
        outbox.enqueue(session, CHANNEL, "of-another-app", {})
        for message in session.exec(select(OutboxMessage)).all():
            message.parked_at = now()
    found = local_differences(town.db, now())
    assert [(each.account_id, each.what, each.ours) for each in found] == [
        ("", "parked", Decimal(2)), (account, "undelivered", Decimal(4200))]
    assert [each.what for each in local_differences(town.db, now(), account)] == ["undelivered"]
    with town.db.reading() as session:
        outbox.delivered(town.db, session.exec(select(OutboxMessage.id)).all(), now())
    assert local_differences(town.db, now()) == [], "another worker had delivered them"


async def test_an_event_delivered_while_polar_is_asked_is_no_difference(town: Town, account: str) -> None:
    await provision.apply(town.services)
    town.use(account)
    await delivery.deliver(town.services)
    [window] = _windows(town.db, now(), account)
    before = _range(town.db, window, now())
    town.use(account)
    await delivery.deliver(town.services)
    theirs = await polar_microusd(town, account)
    assert not before.holds(theirs)
    assert before.or_else(_range(town.db, window, now())).holds(theirs)
