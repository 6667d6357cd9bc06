"""The background work of billing: two loops in every process, made harmless to its likes by leases.

What it does in a round is over when there is nothing to do, so that an idle app costs next to nothing. Nothing here
ends a loop but its cancellation: what fails is logged and tried again in the next round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from chatapp.billing import delivery, holds, inbox, leases, provision, reconcile, subscriptions
from chatapp.billing.books import Difference
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import now

if TYPE_CHECKING:
    from chatapp.services import Services

IDLE_SECONDS = 2.0
GATHER_SECONDS = 0.25
"""So long a round that was woken waits for more, as turns end side by side: Polar allows 500 requests a minute."""
POLL_AFTER = timedelta(hours=1)
"""A webhook that never came is made up for after at most this long."""
HOURLY_LEASE_SECONDS = 900.0
HOURLY_LOOK_SECONDS = 30.0
NIGHT_HOUR = 3
"""From this hour (UTC) on, the day's whole reconciliation is due; a host that slept then does it when it wakes."""
NIGHTLY_LEASE_SECONDS = 4 * 3600.0
PROVISION_PAUSE_SECONDS = 30.0

Alarm: TypeAlias = Callable[[Sequence[Difference]], None]

_log = logging.getLogger(__name__)


async def run(services: Services, wake: asyncio.Event | None = None, alarm: Alarm = lambda _: None) -> None:
    """Work until cancelled; `wake` starts a round at once, see `nudge`. `alarm` is told what the night's look found."""
    ready = asyncio.Event()
    await asyncio.gather(_provision(services, ready), _rounds(services, wake or asyncio.Event()),
                         _hours(services, ready), _nights(services, ready, alarm))


def nudge(wake: asyncio.Event) -> None:
    """Have what a turn has just spent delivered at once.

    From another thread: `loop.call_soon_threadsafe(nudge, wake)`.
    """
    wake.set()


async def one_round(services: Services) -> None:
    """What is due at once: dead holds, webhooks, deliveries."""
    await _logged("sweep", lambda: asyncio.to_thread(holds.sweep, services.db, now()))
    await asyncio.gather(_logged("inbox", lambda: inbox.process(services)),
                         _logged("delivery", lambda: delivery.deliver(services)))


async def hourly_jobs(services: Services) -> None:
    """The poll and the reconciliation, if they are due. They need the catalogue, and may take minutes."""
    await asyncio.gather(_logged("poll", lambda: _hourly(services, "poll", _poll)),
                         _logged("reconcile", lambda: _hourly(services, "reconcile", _reconcile)))


async def nightly_job(services: Services, at: datetime, alarm: Alarm) -> None:
    """Hold all books against each other and Polar, once a day, and sound the alarm where they differ."""
    if at.hour >= NIGHT_HOUR:
        await _logged("nightly reconciliation", lambda: _once(
            services, f"books:{at:%Y-%m-%d}", NIGHTLY_LEASE_SECONDS, lambda _: _books(services, alarm)))


async def _hours(services: Services, ready: asyncio.Event) -> None:
    """A loop of its own: however long it takes, deliveries, webhooks and sweeping go on beside it."""
    await ready.wait()
    while True:
        await hourly_jobs(services)
        await asyncio.sleep(HOURLY_LOOK_SECONDS)


async def _nights(services: Services, ready: asyncio.Event, alarm: Alarm) -> None:
    """A loop of its own: with many accounts it takes long, and the hourly poll must not wait for it."""
    await ready.wait()
    while True:
        await nightly_job(services, now(), alarm)
        await asyncio.sleep(HOURLY_LOOK_SECONDS)


async def _rounds(services: Services, wake: asyncio.Event) -> None:
    while True:
        wake.clear()
        await one_round(services)
        with suppress(TimeoutError):  # nobody woke us: the next round is due all the same
            async with asyncio.timeout(IDLE_SECONDS):  # wait_for can lose a cancel that comes with the waking
                await wake.wait()
                await asyncio.sleep(GATHER_SECONDS)


async def _provision(services: Services, ready: asyncio.Event) -> None:
    """Make sure of the catalogue once per start, then set `ready`; an outage of Polar only puts it off."""
    while True:
        try:
            await provision.apply(services)
        except (Unavailable, Rejected) as error:
            _log.warning("The catalogue at Polar is not set up yet: %s", error)
        except Exception:
            _log.exception("Setting up the catalogue at Polar failed.")
        else:
            ready.set()
            return
        await asyncio.sleep(PROVISION_PAUSE_SECONDS)


async def _hourly(services: Services, name: str, job: Callable[[Services], Awaitable[str]]) -> None:
    await _once(services, f"{name}:{now():%Y-%m-%dT%H}", HOURLY_LEASE_SECONDS, job)


async def _once(
    services: Services, key: str, lease_seconds: float, job: Callable[[Services], Awaitable[str]]
) -> None:
    if not await asyncio.to_thread(leases.claim, services.db, key, lease_seconds, now()):
        return
    # A failed run keeps its lease: the next attempt comes when the lease ends, and not in every round.
    outcome = await job(services)
    await asyncio.to_thread(leases.finish, services.db, key, outcome, now())


async def _poll(services: Services) -> str:
    return f"{await subscriptions.refresh_stale(services, POLL_AFTER)} subscriptions refreshed"


async def _reconcile(services: Services) -> str:
    return f"{len(await reconcile.reconcile(services, thorough=False))} differences"


async def _books(services: Services, alarm: Alarm) -> str:
    differences = await reconcile.reconcile(services)
    if differences:
        await asyncio.to_thread(alarm, differences)
    return f"{len(differences)} differences"


async def _logged(name: str, job: Callable[[], Awaitable[object]]) -> None:
    try:
        await job()
    except Unavailable as error:
        _log.warning("Billing's %s waits: %s", name, error)
    except Exception:
        _log.exception("Billing's %s failed; it is tried again.", name)
