"""Webhooks are kept raw, once, and never believed beyond whom they are about."""

import json
from dataclasses import replace
from datetime import timedelta

from sqlmodel import select

from chatapp.billing import inbox, provision
from chatapp.clients.polar import Polar
from chatapp.db import now
from chatapp.models import InboxMessage
from emulators.faults import Fault
from tests.billing.town import Town


def put(town: Town, body: str, *, attempts: int = 0, message_id: str = "m") -> None:
    with town.db.session() as session:
        session.add(InboxMessage(id=message_id, source="polar", type="t", body=body, attempts=attempts))


def stored(town: Town) -> InboxMessage:
    with town.db.reading() as session:
        return session.exec(select(InboxMessage)).one()


def test_the_subject_is_found_in_every_kind_of_webhook() -> None:
    assert inbox.subject_of({"type": "customer.state_changed", "data": {"external_id": "a"}}) == "a"
    assert inbox.subject_of({"type": "subscription.active", "data": {"customer": {"external_id": "a"}}}) == "a"
    assert inbox.subject_of({"type": "checkout.updated", "data": {"external_customer_id": "a"}}) == "a"
    assert inbox.subject_of({"type": "product.updated", "data": {"external_id": "a"}}) is None
    assert inbox.subject_of({"type": "refund.created", "data": ["?"]}) is None


async def test_unknown_types_are_kept_and_done_with(town: Town) -> None:
    put(town, json.dumps({"type": "moon.landed", "data": {"id": 1}}))
    assert await inbox.process(town.services) == 1
    assert stored(town).reason == "about no customer of ours"


async def test_a_customer_of_another_system_is_no_error(town: Town) -> None:
    put(town, json.dumps({"type": "customer.created", "data": {"external_id": "somebody-else"}}))
    assert await inbox.process(town.services) == 1
    assert stored(town).reason == "no account somebody-else"


async def test_an_outage_of_polar_never_parks_a_webhook(town: Town, account: str) -> None:
    await provision.apply(town.services)
    put(town, json.dumps({"type": "subscription.active", "data": {"customer": {"external_id": account}}}), attempts=99)
    town.fault(Fault.SERVER_ERROR)
    assert await inbox.process(town.services) == 0
    message = stored(town)
    assert (message.parked_at, message.processed_at, message.lease_until) == (None, None, None)
    assert message.next_attempt_at > now()


async def test_neither_an_outage_nor_a_refusal_of_our_token_counts_towards_parking(town: Town, account: str) -> None:
    await provision.apply(town.services)
    body = json.dumps({"type": "subscription.active", "data": {"customer": {"external_id": account}}})
    put(town, body, attempts=inbox.ATTEMPTS)
    put(town, body, attempts=inbox.ATTEMPTS, message_id="n")
    stranger = Polar(replace(town.services.settings.polar, key="polar_oat_wrong"))
    assert await inbox.process(replace(town.services, polar=stranger)) == 0
    await stranger.close()
    with town.db.session() as session:
        for message in session.exec(select(InboxMessage)).all():
            assert (message.parked_at, message.lease_until, message.attempts) == (None, None, inbox.ATTEMPTS)
            assert "401" in message.reason
            message.next_attempt_at = now() - timedelta(seconds=1)
    assert await inbox.process(town.services) == 2


async def test_what_fails_again_and_again_is_parked_with_its_reason_and_stops_no_other(
    town: Town, account: str
) -> None:
    await provision.apply(town.services)
    body = json.dumps({"type": "subscription.active", "data": {"customer": {"external_id": account}}})
    broken = json.dumps({"type": "subscription.active", "data": {"customer": {"external_id": "\ud800"}}})
    put(town, broken, attempts=inbox.ATTEMPTS - 1)
    put(town, body, message_id="n")
    assert await inbox.process(town.services) == 1
    with town.db.reading() as session:
        message = session.get(InboxMessage, "m")
    assert message is not None
    assert message.parked_at is not None
    assert "UnicodeEncodeError" in message.reason
