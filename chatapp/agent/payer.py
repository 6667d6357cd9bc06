"""One paid step: hold → call → settle, whatever happens in between.

    hold = await place(payer, order)
    async with paid(payer, hold, bill=…):
        …the call…

`bill` says afterwards what was used, or None if certainly nothing was sent; only then is the hold released without
a ledger row. The ledger is written in a thread, since it may have to wait for the database; when the step ends in an
exception, and a cancel is one, that is waited for through any further cancels before the exception goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from sqlalchemy.exc import DBAPIError

from chatapp.agent.errors import was_stopped
from chatapp.billing import holds, ledger
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.hold_rows import CUSTOMER, Bearer
from chatapp.billing.holds import PlacedHold
from chatapp.billing.pricing import UnitPrices
from chatapp.db import Database, now

SETTLE_PAUSES_SECONDS = (0.2, 1.0, 3.0, 10.0)
"""Where the database fails as a step ends: together longer than most full disks and locks last."""
RENEW_SECONDS = 60.0
"""A step that waits silently says that often that it lives; `holds.LEASE` is several times longer."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Status: TypeAlias = Literal["ok", "stopped", "failed"]


@dataclass(frozen=True)
class Payer:
    """On whose account steps are taken, and for which turn of which thread.

    Attributes:
        note_seconds: how much of a running step a crash may leave unrecorded.
        bearer: `platform` for side calls, which no customer has asked for.
        stopped: whether it is the person who ended a step that is cut off; else a time limit or a shutdown did.
    """

    db: Database
    entitlement: Entitlement
    turn_id: str
    thread_id: str
    now: Callable[[], datetime] = field(default=now)
    note_seconds: float = 1.0
    bearer: Bearer = CUSTOMER
    stopped: Callable[[], bool] = lambda: True

    async def affordable_cost_usd(self) -> Decimal:
        """The cost, in dollars, that the turn may still incur."""
        return await asyncio.to_thread(
            holds.affordable_cost_usd, self.db, self.entitlement, self.turn_id, self.now()
        )


@dataclass(frozen=True)
class Order:
    """A step that is about to be paid for.

    Attributes:
        provider: who is paid.
        name: the model or the tool.
        prices: None where the vendor reports the cost itself.
        bound_cost_usd: the most that it can cost, in dollars.
        bound: the quantities of that bound.
    """

    kind: Literal["model", "tool"]
    provider: str
    name: str
    prices: UnitPrices | None
    bound_cost_usd: Decimal
    bound: Mapping[str, int]


@dataclass(frozen=True)
class Bill:
    """What a step used.

    Attributes:
        quantities: in the buckets of the order's prices.
        exact: False for an estimate.
        cost_usd: what the vendor reported, in dollars; None where the prices make the cost.
        bearer: `platform` for what may have cost something and brought the customer nothing.
        failed: the call came back without the result that was asked for.
    """

    quantities: Mapping[str, int]
    exact: bool
    cost_usd: Decimal | None = None
    bearer: Bearer = CUSTOMER
    failed: bool = False


Billing: TypeAlias = Callable[[BaseException | None], Bill | None]
"""Makes the bill from the exception that ended the step, or None; returns None if certainly nothing was sent."""


async def place(payer: Payer, order: Order) -> PlacedHold:
    """Set the money aside. A cancel while the database works leaves no hold.

    Raises:
        InsufficientFunds: it does not fit; nothing was sent.
    """
    hold = partial(
        holds.place, payer.db, payer.entitlement, turn_id=payer.turn_id, thread_id=payer.thread_id, kind=order.kind,
        provider=order.provider, name=order.name, prices=order.prices, bound_cost_usd=order.bound_cost_usd,
        quantities_bound=order.bound, bearer=payer.bearer, now=payer.now(),
    )
    return await to_the_end(hold, undo=partial(holds.release, payer.db))


@asynccontextmanager
async def paid(
    payer: Payer, hold: PlacedHold, *, bill: Billing, estimate: Callable[[], Mapping[str, int]] | None = None
) -> AsyncIterator[None]:
    """Around the call that the hold pays for: settles it by `bill` when the call ends, in whatever way.

    Args:
        payer: who placed the hold.
        hold: the money set aside.
        bill: see `Billing`.
        estimate: the quantities used so far; noted at most every `note_seconds`, for the case that this process dies.
    """
    notes = asyncio.create_task(_note(payer, hold, estimate)) if estimate else None
    try:
        yield
    except BaseException as error:
        if notes:
            notes.cancel()
        status: _Status = "stopped" if was_stopped(error) else "failed"
        close = partial(_close, payer, hold, bill(error), status)
        if _can_wait(error):
            await _awaited(_persistently(hold, close))
        else:
            close()
        raise
    if notes:
        notes.cancel()
    await _awaited(_persistently(hold, partial(_close, payer, hold, bill(None), "ok")))


def _can_wait(error: BaseException) -> bool:
    """False for a step that is thrown away, by the garbage collector perhaps after its event loop has ended."""
    return not isinstance(error, GeneratorExit) and asyncio._get_running_loop() is not None


def _close(payer: Payer, hold: PlacedHold, bill: Bill | None, status: _Status) -> None:
    if bill is None:
        holds.release(payer.db, hold)
        return
    ledger.settle(
        payer.db, hold, bill.quantities, exact=bill.exact, status="failed" if bill.failed else status,
        cost_usd=bill.cost_usd, bearer=bill.bearer, now=payer.now(),
    )


async def _persistently(hold: PlacedHold, close: Callable[[], None]) -> None:
    """Settle, and try again where the database fails: what was really used is known here and nowhere else.

    Settling twice changes nothing. Raises what the last attempt raised; then a sweep settles with the last estimate.
    """
    for pause in SETTLE_PAUSES_SECONDS:
        try:
            await asyncio.to_thread(close)
        except DBAPIError:
            _log.exception("Hold %s could not be settled; it is tried again in %s s.", hold.id, pause)
            await asyncio.sleep(pause)
        else:
            return
    await asyncio.to_thread(close)


async def _note(payer: Payer, hold: PlacedHold, estimate: Callable[[], Mapping[str, int]]) -> None:
    noted: Mapping[str, int] | None = None
    at = time.monotonic()
    while True:
        await asyncio.sleep(payer.note_seconds)
        try:
            used = estimate()
            if used == noted and time.monotonic() < at + RENEW_SECONDS:
                continue
            await asyncio.to_thread(holds.checkpoint, payer.db, hold, used, payer.now())
        except Exception:  # the call goes on: without this note a crash would leave an older estimate, no more
            _log.exception("Could not note the progress of hold %s.", hold.id)
        else:
            noted, at = used, time.monotonic()


async def to_the_end(call: Callable[[], _T], *, undo: Callable[[_T], None] | None = None) -> _T:
    """Run a short blocking call in a thread, to its end: see `_awaited`."""
    return await _awaited(asyncio.to_thread(call), undo=undo)


async def _awaited(coroutine: Coroutine[Any, Any, _T], *, undo: Callable[[_T], None] | None = None) -> _T:
    """Wait for work that goes on in a task of its own, even if this task is cancelled meanwhile.

    Then `undo` takes back what it did, if given, and the cancellation goes on.
    """
    work = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    if undo is not None and work.exception() is None:
        await to_the_end(partial(undo, work.result()))
    raise cancelled
