"""A switch of plan loses no usage: none may be under way, and none may begin."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlmodel import select

from chatapp.billing import admission, checkout, delivery, holds, switches
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.entitlements import PlanChanging
from chatapp.billing.holds import InsufficientFunds
from chatapp.billing.texts import BillingRefused
from chatapp.db import Database
from chatapp.db import now as clock
from chatapp.models import OutboxMessage, Thread, Turn
from chatapp.settings import Settings
from emulators.faults import Fault
from tests.billing.conftest import Place, subscribe
from tests.billing.test_checkout import buy
from tests.billing.town import Town


def run_turn(db: Database, account: str) -> None:
    with db.session() as session:
        thread = Thread(account_id=account, title="t")
        session.add(thread)
        session.flush()
        session.add(Turn(id="turn-1", account_id=account, thread_id=thread.id, runner="r",
                         lease_until=clock() + timedelta(seconds=20)))


def refusal(db: Database, account: str, now: datetime) -> str:
    with pytest.raises(BillingRefused) as refused:
        switches.begin(db, account, now)
    return refused.value.code


def test_no_switch_begins_while_a_step_is_held(db: Database, account: str, place: Place, now: datetime) -> None:
    hold = place()
    assert refusal(db, account, now) == "usage_pending"
    holds.release(db, hold)
    switches.begin(db, account, now)


def test_no_switch_begins_while_an_answer_is_written(db: Database, account: str, now: datetime) -> None:
    run_turn(db, account)
    assert refusal(db, account, now) == "usage_pending"


def test_a_refused_switch_closes_nothing(db: Database, account: str, place: Place, now: datetime) -> None:
    place()
    assert refusal(db, account, now) == "usage_pending"
    place()


async def test_a_running_answer_keeps_its_plan_at_polar(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    run_turn(town.db, account)
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert refused.value.code == "usage_pending"
    assert town.plan(account) == "pay_per_use"


async def test_a_parked_event_keeps_the_plan_at_polar(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    town.use(account)
    with town.db.session() as session:
        session.exec(select(OutboxMessage)).one().parked_at = clock()
    with pytest.raises(BillingRefused) as refused:
        await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert refused.value.code == "usage_pending"
    assert await delivery.deliver(town.services) == 0
    assert town.plan(account) == "pay_per_use"


def test_while_a_plan_is_switched_no_question_is_admitted_and_nothing_is_held(
    db: Database, account: str, place: Place, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    switches.begin(db, account, now)
    with pytest.raises(PlanChanging) as refused:
        admission.admit(db, settings, account, now)
    assert refused.value.text == "Your plan is being changed. Try again in a moment."
    with pytest.raises(InsufficientFunds) as unheld:
        place()
    assert unheld.value.text == refused.value.text
    assert refusal(db, account, now) == "plan_changing"


def test_a_question_admitted_before_a_switch_holds_nothing_after_it(
    db: Database, account: str, place: Place, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    earlier = admission.admit(db, settings, account, now)
    later = now + timedelta(seconds=2)
    switches.begin(db, account, now + timedelta(seconds=1))
    switches.finish(db, account, later)
    with pytest.raises(InsufficientFunds, match="being changed"):
        place(entitlement=earlier, now=later)
    place(entitlement=admission.admit(db, settings, account, later), now=later)


def test_a_question_admitted_before_a_switch_that_came_to_nothing_goes_on(
    db: Database, account: str, place: Place, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    earlier = admission.admit(db, settings, account, now)
    switches.begin(db, account, now)
    switches.abandon(db, account)
    place(entitlement=earlier)


def test_a_switch_whose_process_died_runs_out_by_itself(
    db: Database, account: str, place: Place, settings: Settings, now: datetime
) -> None:
    subscribe(db, account, PAY_PER_USE)
    switches.begin(db, account, now)
    later = now + switches.LONGEST
    place(entitlement=admission.admit(db, settings, account, later), now=later)


def test_of_a_switch_and_holds_at_once_either_the_switch_or_the_holds_are_refused(
    db: Database, account: str, place: Place, now: datetime
) -> None:
    def hold(_: int) -> bool:
        try:
            place()
        except InsufficientFunds:
            return False
        return True

    def switch() -> bool:
        try:
            switches.begin(db, account, now)
        except BillingRefused:
            return False
        return True
    with ThreadPoolExecutor(5) as pool:
        switched, *held = [*[pool.submit(switch)], *[pool.submit(hold, n) for n in range(4)]]
    assert switched.result() != any(each.result() for each in held)


async def test_a_finished_switch_opens_the_account_and_one_that_polar_refused_too(town: Town, account: str) -> None:
    await buy(town, account, "pay_per_use")
    town.fault(Fault.TOO_MANY_REQUESTS, path="subscriptions/", times=100)
    with pytest.raises(BillingRefused):
        await checkout.start(town.services, account, "ada@example.com", "unlimited")
    town.mend()
    assert admission.admit(town.db, town.services.settings, account, clock()).plan.key == "pay_per_use"
    await checkout.start(town.services, account, "ada@example.com", "unlimited")
    assert admission.admit(town.db, town.services.settings, account, clock()).plan.key == "unlimited"
