"""A process that uses and delivers at a steady pace: `python -m benchmarks.billing.tracker <database> <Polar> …`.

`… <first> <until> <per second>`: it holds and settles the steps with these numbers, and prints a number once its step
is in the ledger: what an app has told its user by then must never be lost. Beside that it delivers, as the app's worker
does: woken after each step, and every two seconds in any case.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.billing.rows import one_step
from benchmarks.billing.worker import services
from chatapp.billing import delivery, worker

if TYPE_CHECKING:
    from chatapp.services import Services  # it imports every vendor's SDK

ACCOUNT = "account-tracked"


async def track(made: Services, first: int, until: int, rate: float) -> None:
    """Use so much, and end after a last delivery; what has to wait then, for a pause or a dead process, is left."""
    wake, used = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_deliver(made, wake, used))
        began = time.perf_counter()
        for number in range(first, until):
            await asyncio.sleep(max(0.0, began + (number - first) / rate - time.perf_counter()))
            event = await asyncio.to_thread(one_step, made.db, ACCOUNT, f"turn-{number}")
            print(f"{number} {event.id}", flush=True)
            worker.nudge(wake)
        used.set()
        worker.nudge(wake)


async def _deliver(made: Services, wake: asyncio.Event, used: asyncio.Event) -> None:
    while True:
        wake.clear()
        last = used.is_set()
        await delivery.deliver(made)
        if last:
            return
        with suppress(TimeoutError):  # nobody woke us: the next round is due all the same
            async with asyncio.timeout(worker.IDLE_SECONDS):
                await wake.wait()


async def _main(database_url: str, polar_url: str, first: str, until: str, rate: str) -> None:
    made = services(database_url, polar_url)
    await track(made, int(first), int(until), float(rate))
    await made.polar.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
