"""The ledger against Polar's meter, for each account and each period."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlmodel import col, select

from chatapp.billing import delivery, holds, ledger, periods, provision
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.reconcile import BLUR, SETTLING, _range, _Window, reconcile
from chatapp.clients.errors import Unavailable
from chatapp.clients.polar_types import PolarEvent
from chatapp.db import now
from chatapp.models import OutboxMessage
from emulators.faults import Fault
from tests.billing.conftest import BOUND, PRICES, entitlement, new_account, subscribe
from tests.billing.town import Town

DAY = timedelta(days=1)


def _use(town: Town, account_id: str, at: datetime, cost_usd: str) -> None:
    hold = holds.place(town.db, entitlement(account_id), turn_id="turn", thread_id="thread", kind="model",
                       provider="openai", name="gpt-x", prices=PRICES, bound_cost_usd=Decimal(1),
                       quantities_bound=BOUND, now=at)
    ledger.settle(town.db, hold, BOUND, exact=True, status="ok", cost_usd=Decimal(cost_usd), now=at)


async def _forge(town: Town, account_id: str, at: datetime, microusd: str) -> None:
    """Something that Polar has and the ledger does not."""
    await town.services.polar.ingest([PolarEvent(
        name="usage", external_id=f"forged-{account_id}-{at}", external_customer_id=account_id, timestamp=at,
        metadata={}, numbers={"charge_microusd": Decimal(microusd)})])


async def _in_two_periods(town: Town, account_id: str) -> datetime:
    """Usage of $0.012 before the present period and of $0.024 in it, all at Polar. Returns the period's start."""
    await provision.apply(town.services)
    start = now() - 3 * DAY
    subscribe(town.db, account_id, PAY_PER_USE, start=start, end=start + 30 * DAY)
    _use(town, account_id, start - DAY, "0.01")
    _use(town, account_id, start + DAY, "0.02")
    assert await delivery.deliver(town.services) == 2
    with town.db.session() as session:  # long enough ago that Polar's sum must have it
        for message in session.exec(select(OutboxMessage)).all():
            message.delivered_at = now() - 2 * SETTLING
    return start


async def test_a_period_that_differs_is_named(town: Town, account: str) -> None:
    start = await _in_two_periods(town, account)
    assert await reconcile(town.services) == []
    await _forge(town, account, start + DAY, "5")
    [found] = await reconcile(town.services)
    assert (found.account_id, found.what, found.since) == (account, "ledger and Polar", periods.day(start).start)
    assert (found.ours, found.theirs) == (Decimal(24_000), Decimal(24_005))


async def test_two_periods_whose_errors_cancel_out_are_found(town: Town, account: str) -> None:
    start = await _in_two_periods(town, account)
    await _forge(town, account, start - DAY, "7")
    await _forge(town, account, start + DAY, "-7")
    found = await reconcile(town.services)
    assert [(one.ours, one.theirs) for one in found] == [
        (Decimal(12_000), Decimal(12_007)), (Decimal(24_000), Decimal(23_993))]
    assert await reconcile(town.services, thorough=False) == [], "which the sum over all cannot tell"


async def test_two_accounts_whose_errors_cancel_out_are_found(town: Town, account: str) -> None:
    other = new_account(town.db)
    await _in_two_periods(town, account)
    start = await _in_two_periods(town, other)
    await _forge(town, account, start + DAY, "3")
    await _forge(town, other, start + DAY, "-3")
    assert {one.account_id for one in await reconcile(town.services)} == {account, other}
    assert [one.account_id for one in await reconcile(town.services, other)] == [other]


async def test_a_period_from_the_middle_of_a_month_to_the_next_is_compared_whole(town: Town, account: str) -> None:
    await provision.apply(town.services)
    start = now() - 25 * DAY
    subscribe(town.db, account, PAY_PER_USE, start=start, end=start + 30 * DAY)
    for days in (-400, -40, -33, -2, 0, 1, 9, 20, 24):
        _use(town, account, start + days * DAY, "0.01")
    await delivery.deliver(town.services)
    with town.db.session() as session:
        for message in session.exec(select(OutboxMessage)).all():
            message.delivered_at = now() - 2 * SETTLING
    assert await reconcile(town.services) == []
    assert await reconcile(town.services, thorough=False) == []
    await _forge(town, account, start - 33 * DAY, "-1")
    assert [one.theirs for one in await reconcile(town.services)] == [Decimal(47_999)]


async def test_a_moment_without_polar_is_waited_out(town: Town, account: str) -> None:
    start = await _in_two_periods(town, account)
    await _forge(town, account, start + DAY, "5")
    town.fault(Fault.TOO_MANY_REQUESTS, path="quantities", times=1)
    assert [one.theirs for one in await reconcile(town.services)] == [Decimal(24_005)]


async def test_what_polar_does_not_tell_is_reported_beside_what_was_found(
    town: Town, account: str
) -> None:
    await _in_two_periods(town, account)
    town.fault(Fault.SERVER_ERROR, path="quantities")
    with pytest.raises(Unavailable):
        await reconcile(town.services, patience_seconds=(0.01, 0.01))
    town.use(account)
    with town.db.session() as session:
        for message in session.exec(select(OutboxMessage).where(col(OutboxMessage.delivered_at).is_(None))).all():
            message.parked_at = now()
    found = await reconcile(town.services, patience_seconds=(0.01,))
    assert [(one.what, one.ours) for one in found] == [("undelivered", Decimal(2496)), ("not compared", Decimal(2))]


async def test_a_young_event_may_be_dated_into_the_next_day(town: Town, account: str) -> None:
    await provision.apply(town.services)
    midnight = periods.day(now()).start
    _use(town, account, midnight - timedelta(seconds=30), "0.01")
    await delivery.deliver(town.services)
    before, after = _Window(account, midnight - DAY, midnight), _Window(account, midnight, midnight + DAY)
    for window in (before, after):
        found = _range(town.db, window, now() + 2 * SETTLING)
        assert (found.least, found.most) == (0, 12_000_000), "Polar may have it on either day"


async def test_what_is_missing_long_before_the_edge_is_no_matter_of_dates(town: Town, account: str) -> None:
    start = await _in_two_periods(town, account)
    _use(town, account, start - BLUR - timedelta(minutes=2), "0.03")  # never delivered
    found = [one for one in await reconcile(town.services) if one.what == "undelivered"]
    assert [one.ours for one in found] == [Decimal(36_000)]
