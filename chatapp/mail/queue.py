"""Mails in the outbox: written in the transaction that causes them, sent to Resend from there.

The outbox key is the idempotency key at Resend. Resend remembers keys for 24 hours; a mail that could not be sent for
so long is parked, because its link is dead by then and a repetition would no longer be recognised.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import Protocol

from sqlmodel import Session, col, update

from chatapp.billing import outbox
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.resend import Resend
from chatapp.db import Database, now
from chatapp.mail.layout import Mail
from chatapp.models import OutboxMessage
from chatapp.settings import Settings

log = logging.getLogger(__name__)

CHANNEL = "mail"
BATCH = 10
LEASE_SECONDS = 300.0
"""Over BATCH attempts of 15 s each, the slowest that the client allows."""
LONGEST_WAIT_SECONDS = 120.0
"""Somebody looks at their mailbox: an attempt every two minutes is little, and they wait no longer than need be."""
GIVE_UP_AFTER = timedelta(hours=23)


class MailServices(Protocol):
    """What delivery needs of `chatapp.services.Services`."""

    @property
    def settings(self) -> Settings:
        """For the sender's address."""

    @property
    def db(self) -> Database:
        """The database."""

    @property
    def resend(self) -> Resend:
        """The mail service."""


def enqueue(session: Session, to: str, mail: Mail, key: str, account_id: str | None = None) -> None:
    """Queue a mail in the caller's transaction; a second one with the same key is the same mail.

    Args:
        session: the transaction that causes the mail.
        to: one address.
        mail: from `templates`.
        key: idempotency key, up to 200 characters: what happened, never when it was tried.
        account_id: whose it is, if that is known.
    """
    payload = {"to": to, "subject": mail.subject, "html": mail.html, "text": mail.text}
    outbox.enqueue(session, CHANNEL, key, payload, account_id)


async def deliver(services: MailServices) -> int:
    """Send the mails that are due, the oldest first; returns how many were sent. Call it again while that is not 0.

    The first outage ends the round: the mails that were claimed behind it go back, so that one dead vendor does not
    cost one timeout each. A mail that Resend refuses is parked with the reason and stands in nobody's way.
    """
    claimed = await asyncio.to_thread(outbox.claim, services.db, CHANNEL, BATCH, LEASE_SECONDS, now())
    sent = 0
    for index, message in enumerate(claimed):
        try:
            await _send(services, message)
        except Rejected as error:
            log.error("Mail %s is parked: %s", message.id, error)
            await asyncio.to_thread(outbox.park, services.db, message.id, str(error), now())
        except Unavailable as error:
            rest = [other.id for other in claimed[index + 1:]]
            await asyncio.to_thread(_postpone, services.db, message, rest, error, now())
            break
        else:
            sent += 1
    return sent


def wait_seconds(attempts: int, error: Unavailable) -> float:
    """How long to wait after this many attempts: doubling from 5 s, with jitter; never less than the vendor asks."""
    doubled = min(5.0 * 2.0 ** min(attempts - 1, 10), LONGEST_WAIT_SECONDS)
    jittered = doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, protects nothing
    return max(jittered, error.retry_after_seconds or 0.0)


async def _send(services: MailServices, message: OutboxMessage) -> None:
    mail = message.payload
    await services.resend.send(sender=services.settings.mail_from, to=mail["to"], subject=mail["subject"],
                               html=mail["html"], text=mail["text"], key=message.key)
    await asyncio.to_thread(_delivered, services.db, message, now())


def _delivered(db: Database, message: OutboxMessage, moment: datetime) -> None:
    """Mark it, and forget its body: the links in it are keys to somebody's account."""
    outbox.delivered(db, [message.id], moment)
    kept = {key: message.payload[key] for key in ("to", "subject")}
    with db.session() as session:
        session.exec(update(OutboxMessage).where(col(OutboxMessage.id) == message.id).values(payload=kept))


def _postpone(db: Database, message: OutboxMessage, rest: list[str], error: Unavailable, moment: datetime) -> None:
    wait = timedelta(seconds=wait_seconds(message.attempts, error))
    if moment + wait > message.created_at + GIVE_UP_AFTER:
        log.error("Mail %s is parked, Resend was unavailable for too long: %s", message.id, error)
        outbox.park(db, message.id, f"unavailable for too long: {error}", moment)
    else:
        log.warning("Mail %s waits %.0f s: %s", message.id, wait.total_seconds(), error)
        outbox.retry(db, [message.id], moment + wait, str(error))
    if rest:
        soon = timedelta(seconds=max(1.0, error.retry_after_seconds or 0.0))
        outbox.retry(db, rest, moment + soon, "waits behind another mail")
