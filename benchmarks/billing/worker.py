"""A process that delivers, as the app's does: `python -m benchmarks.billing.worker <database> <Polar's address>`.

It reads commands from standard input, a line of JSON each, and answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import httpx
import psutil
from sqlmodel import select

from chatapp.billing import delivery, outbox
from chatapp.billing.ledger import CHANNEL
from chatapp.clients.polar import Polar
from chatapp.db import Database, now
from chatapp.models import OutboxMessage
from chatapp.settings import Settings, Vendor, load

if TYPE_CHECKING:
    from chatapp.services import Services  # it imports every vendor's SDK

LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class BillingServices:
    """The services that billing uses; the app's have more."""

    settings: Settings
    db: Database
    polar: Polar


def services(database_url: str, polar_url: str) -> Services:
    """Billing's services on that database and before that Polar."""
    settings = load({"LIMITS": "on"})
    settings = replace(settings, polar=Vendor(settings.polar.key, polar_url, emulated=True))
    return cast("Services", BillingServices(settings, Database(database_url), Polar(settings.polar)))


async def deliver(made: Services) -> dict[str, Any]:
    """Deliver what waits, as the app's worker loop does."""
    process = psutil.Process()
    before = process.cpu_times()
    began = time.perf_counter()
    sent = await delivery.deliver(made)
    seconds = time.perf_counter() - began
    after = process.cpu_times()
    return {"sent": sent, "seconds": seconds,
            "cpu_seconds": after.user + after.system - before.user - before.system}


async def claims(made: Services, *, times: int) -> dict[str, Any]:
    """How long claiming and marking take, a batch each time; what is claimed goes back into the queue at the end."""
    claiming, marking, taken = [], [], []
    for _ in range(times):
        began = time.perf_counter()
        batch = outbox.claim_batch(made.db, CHANNEL, delivery.BATCH, LEASE_SECONDS, now())
        claiming.append(time.perf_counter() - began)
        taken += batch
        began = time.perf_counter()
        outbox.renew(made.db, [message.id for message in batch], LEASE_SECONDS, now())
        marking.append(time.perf_counter() - began)
    for start in range(0, len(taken), delivery.BATCH):
        outbox.retry(made.db, [message.id for message in taken[start:start + delivery.BATCH]], now(), "")
    return {"claim_seconds": claiming, "mark_seconds": marking, "claimed": len(taken)}


async def encode(made: Services, *, times: int) -> dict[str, Any]:
    """How long a batch takes from its rows to the bytes of a request, without sending it."""
    with made.db.reading() as session:
        batch = session.exec(select(OutboxMessage).where(OutboxMessage.channel == CHANNEL).limit(delivery.BATCH)).all()
    seconds, size = [], 0
    for _ in range(times):
        began = time.perf_counter()
        at = now()
        events = [delivery._event(message, at, stamped=True).as_json() for message in batch]
        request = httpx.Request("POST", made.settings.polar.url, json={"events": events})  # as the SDK makes it
        seconds.append(time.perf_counter() - began)
        size = len(request.content)
    return {"encode_seconds": seconds, "bytes": size, "events": len(batch)}


async def memory(_: Services) -> dict[str, Any]:
    """The resident memory of this process."""
    return {"rss_bytes": psutil.Process().memory_info().rss}


async def _main(database_url: str, polar_url: str) -> None:
    made = services(database_url, polar_url)
    commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "deliver": deliver, "claims": claims, "encode": encode, "memory": memory}
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        print(json.dumps(await commands[asked.pop("do")](made, **asked)), flush=True)
    await made.polar.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
