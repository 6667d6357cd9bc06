"""Delivery of usage events to Polar: in batches, at least once, and once at Polar by the event's id."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from chatapp.billing import outbox
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.outbox import Claimed
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.polar_types import PolarEvent
from chatapp.db import now
from chatapp.models import OutboxMessage

if TYPE_CHECKING:
    from chatapp.services import Services

BATCH = 1000
"""Polar takes 500 requests a minute, whatever they carry: batches of 500 events would be 4,166 events a second at most.
A thousand of them are about half a megabyte, of the ten that Polar takes."""
LEASE_SECONDS = 40.0
"""Outlasts two requests to a slow Polar, that of the batch before and its own, and is renewed before each further one;
so long the events of a process that died have to wait. If it runs out all the same, events are sent twice and billed
once."""
RECENT = timedelta(minutes=5)
"""An event younger than this is stamped by Polar at its reception: our clock may be ahead, and Polar refuses the
future. The stamp bills nothing; what counts is when Polar receives an event."""
LONGEST_PAUSE_SECONDS = 300.0
EVENTS_AT_FAULT = (400, 413, 422)
"""Statuses by which Polar refuses what was sent. Any other refusal, such as 401, is about us: the events wait."""

_log = logging.getLogger(__name__)
_Messages = Sequence[Claimed]


async def deliver(services: Services, *, account_id: str | None = None) -> int:
    """Send all events that are due, of one account or of all; return how many Polar has now.

    An outage raises nothing: the events stay, and are tried again after a pause that grows.
    """
    total, batch = 0, await _claim(services, account_id)
    while batch:
        # While Polar takes a full batch, the next one is fetched.
        coming = asyncio.create_task(_claim(services, account_id)) if len(batch) == BATCH else None
        try:
            sent, go_on = await _send(services, batch)
        except BaseException:
            if coming is not None:
                coming.cancel()  # what it has claimed is claimed again when its lease has run out
            raise
        total += sent
        following = [] if coming is None else await coming
        if not go_on:
            if following:
                await asyncio.to_thread(outbox.retry, services.db, _ids(following), now(), "")
            return total
        batch = following or await _claim(services, account_id)
    return total


async def _claim(services: Services, account_id: str | None) -> _Messages:
    return await asyncio.to_thread(outbox.claim_batch, services.db, CHANNEL, BATCH, LEASE_SECONDS, now(),
                                   account_id=account_id)


async def _send(services: Services, batch: _Messages) -> tuple[int, bool]:
    """Send a batch, halving it wherever Polar refuses, so that one bad event stops no other.

    Returns:
        How many Polar has, and whether Polar is there for more.
    """
    sent, parts = 0, [batch]
    while parts:
        part = parts.pop()
        try:
            if part is not batch:
                await _renew(services, [m for left in (part, *parts) for m in left])
            await _ingest(services, part, stamped=True)
        except Unavailable as error:
            await _postpone(services, [m for left in (part, *parts) for m in left], error.retry_after_seconds, error)
            return sent, False
        except Rejected as refusal:
            if refusal.status not in EVENTS_AT_FAULT:
                _log.error("Polar refuses us, the events wait: %s", refusal)
                await _postpone(services, [m for left in (part, *parts) for m in left], LONGEST_PAUSE_SECONDS, refusal)
                return sent, False
            if len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                sent += await _send_alone(services, part[0], refusal)
        else:
            sent += len(part)
    return sent, True


async def _send_alone(services: Services, message: Claimed, refusal: Rejected) -> int:
    """One refused event once more, without its time; it is parked if Polar refuses that too."""
    try:
        await _renew(services, [message])
        await _ingest(services, [message], stamped=False)
    except Unavailable as error:
        await _postpone(services, [message], error.retry_after_seconds, error)
        return 0
    except Rejected as again:
        if again.status not in EVENTS_AT_FAULT:  # our token was revoked in between: no fault of the event
            await _postpone(services, [message], LONGEST_PAUSE_SECONDS, again)
            return 0
        _log.error("Parked usage event %s, which Polar refuses: %s", message.key, refusal)
        await asyncio.to_thread(outbox.park, services.db, message.id, str(refusal), now())
        return 0
    return 1


async def _renew(services: Services, messages: _Messages) -> None:
    await asyncio.to_thread(outbox.renew, services.db, _ids(messages), LEASE_SECONDS, now())


async def _ingest(services: Services, part: _Messages, *, stamped: bool) -> None:
    at = now()
    inserted, duplicates = await services.polar.ingest([_event(message, at, stamped=stamped) for message in part])
    if inserted + duplicates != len(part):
        raise Unavailable(f"Polar took {inserted} events and knew {duplicates} of {len(part)}: some are missing.")
    await asyncio.to_thread(outbox.delivered, services.db, _ids(part), now())


async def _postpone(services: Services, messages: _Messages, asked_seconds: float | None, error: Exception) -> None:
    attempts = max(message.attempts for message in messages)
    pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(attempts, 10)) * random.uniform(0.5, 1)  # noqa: S311 - jitter
    at = now() + timedelta(seconds=max(pause, asked_seconds or 0))
    _log.warning("%s usage events wait until %s: %s", len(messages), at, error)
    await asyncio.to_thread(outbox.retry, services.db, _ids(messages), at, str(error))


def _ids(messages: _Messages) -> list[str]:
    return [message.id for message in messages]


def _event(message: Claimed | OutboxMessage, at: datetime, *, stamped: bool) -> PolarEvent:
    payload = message.payload
    occurred_at = datetime.fromisoformat(payload["occurred_at"])
    return PolarEvent(
        name=payload["name"], external_id=payload["external_id"],
        external_customer_id=payload["external_customer_id"],
        timestamp=occurred_at if stamped and occurred_at < at - RECENT else None,
        metadata=payload["metadata"], numbers={key: Decimal(text) for key, text in payload["numbers"].items()},
    )
