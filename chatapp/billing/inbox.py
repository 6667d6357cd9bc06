"""The inbox: Polar's webhooks, verified and kept raw. They are only the sign to ask Polar afresh.

What a webhook says is never believed beyond whom it is about, so that it does not matter whether it comes late, twice
or out of order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, update
from sqlmodel import col, select

from chatapp.billing import subscriptions
from chatapp.billing.sql import insert, statement
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.polar import BadSignature, verify_webhook
from chatapp.db import Database, now
from chatapp.models import Account, InboxMessage

if TYPE_CHECKING:
    from chatapp.services import Services

SOURCE = "polar"
BATCH = 50
LEASE_SECONDS = 120.0
ATTEMPTS = 6
"""So often a message may fail for a reason of its own before it is parked.
Outages of Polar, and its refusals of our token, do not count."""
LONGEST_PAUSE_SECONDS = 300.0
_ID_LENGTH = 200

_log = logging.getLogger(__name__)


def receive(db: Database, body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> None:
    """Keep a webhook that Polar signed; a second delivery of it changes nothing.

    Raises:
        BadSignature: it is not Polar's, or too old.
    """
    verify_webhook(body, headers, secret)
    message_id = headers["webhook-id"]
    if len(message_id) > _ID_LENGTH:
        raise BadSignature("The webhook's id is longer than any of Polar's.")
    with db.session() as session:
        session.exec(insert(session, InboxMessage).values(
            id=message_id, source=SOURCE, type=str(_read(body.decode()).get("type", ""))[:100], body=body.decode(),
            attempts=0, next_attempt_at=now, reason="", received_at=now,
        ).on_conflict_do_nothing(index_elements=["id"]))


async def process(services: Services) -> int:
    """Refetch from Polar whatever the waiting webhooks are about; return how many are done with."""
    done = 0
    claimed = await asyncio.to_thread(_claim, services.db, now())
    for position, message in enumerate(claimed):
        try:
            outcome = await _process(services, message)
        except (Unavailable, Rejected) as error:
            if _about_us(error):
                await asyncio.to_thread(_postpone, services.db, claimed[position:], error)
                return done
            await _failed(services.db, message, error)
        except Exception as error:  # one unreadable message must not stop the others: it is logged, then parked
            await _failed(services.db, message, error)
        else:
            await asyncio.to_thread(_mark, services.db, message.id, processed_at=now(), reason=outcome)
            done += 1
    return done


def subject_of(payload: Mapping[str, Any]) -> str | None:
    """Our id of the customer that a webhook is about; None if it is about none of ours."""
    data = payload.get("data")
    if not isinstance(data, Mapping):
        return None
    customer = data.get("customer")
    candidates = [
        customer.get("external_id") if isinstance(customer, Mapping) else None,
        data.get("external_customer_id"), data.get("customer_external_id"),
        data.get("external_id") if str(payload.get("type", "")).startswith("customer.") else None,
    ]
    return next((str(candidate) for candidate in candidates if candidate), None)


async def _process(services: Services, message: InboxMessage) -> str:
    account_id = subject_of(_read(message.body))
    if account_id is None:
        return "about no customer of ours"
    if not await asyncio.to_thread(_has_account, services.db, account_id):
        return f"no account {account_id[:_ID_LENGTH]}"
    await subscriptions.refresh(services, account_id)
    return "refreshed"


def _read(body: str) -> Mapping[str, Any]:
    """The payload; empty for a body that is no JSON object, which is then about nobody."""
    try:
        payload = json.loads(body)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _has_account(db: Database, account_id: str) -> bool:
    with db.reading() as session:
        return session.get(Account, account_id) is not None


def _claim(db: Database, at: datetime) -> Sequence[InboxMessage]:
    due = [
        col(InboxMessage.source) == SOURCE, col(InboxMessage.processed_at).is_(None),
        col(InboxMessage.parked_at).is_(None), col(InboxMessage.next_attempt_at) <= at,
        or_(col(InboxMessage.lease_until).is_(None), col(InboxMessage.lease_until) < at),
    ]
    oldest = (select(InboxMessage.id).where(*due).order_by(col(InboxMessage.received_at)).limit(BATCH)
              .with_for_update(skip_locked=True).cte("oldest"))
    claiming = (
        update(InboxMessage).where(col(InboxMessage.id).in_(select(oldest.c.id)))
        .values(lease_until=at + timedelta(seconds=LEASE_SECONDS), attempts=InboxMessage.attempts + 1)
        .returning(InboxMessage)
    )
    with db.session() as session:
        claimed = session.exec(claiming, execution_options=statement).scalars().all()
    return sorted(claimed, key=lambda message: message.received_at)


def _about_us(error: Unavailable | Rejected) -> bool:
    """Whether Polar would answer any other message the same now: it is out, or refuses our token."""
    return isinstance(error, Unavailable) or error.status in subscriptions.REFUSES_US


def _postpone(db: Database, messages: Sequence[InboxMessage], error: Unavailable | Rejected) -> None:
    """They wait, the longer the older they are. The attempt does not count: it was no fault of theirs."""
    if isinstance(error, Rejected):
        _log.error("Polar refuses us, %s webhooks wait: %s", len(messages), error)
    asked_seconds = (error.retry_after_seconds or 0.0) if isinstance(error, Unavailable) else 0.0
    for message in messages:
        age_seconds = max(2.0, (now() - message.received_at).total_seconds())
        pause = min(LONGEST_PAUSE_SECONDS, age_seconds) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        _mark(db, message.id, attempts=max(0, message.attempts - 1), reason=str(error),
              next_attempt_at=now() + timedelta(seconds=max(pause, asked_seconds)))


async def _failed(db: Database, message: InboxMessage, error: Exception) -> None:
    """Try a message that failed for a reason of its own again, at most `ATTEMPTS` times."""
    _log.error("Webhook %s (%s) failed for the %s. time.", message.id, message.type, message.attempts, exc_info=error)
    if message.attempts >= ATTEMPTS:
        await asyncio.to_thread(_mark, db, message.id, parked_at=now(), reason=repr(error))
        return
    pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(message.attempts, 10)) * random.uniform(0.5, 1)  # noqa: S311 - jitter
    await asyncio.to_thread(_mark, db, message.id, next_attempt_at=now() + timedelta(seconds=pause), reason=str(error))


def _mark(db: Database, message_id: str, **values: Any) -> None:  # noqa: ANN401 - columns of several types
    with db.session() as session:
        session.exec(update(InboxMessage).where(col(InboxMessage.id) == message_id)
                     .values(lease_until=None, **values), execution_options=statement)
