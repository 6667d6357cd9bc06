"""A guard around any paid action: nothing is done that the account cannot pay, and nothing done goes unbilled.

    async with guard(ingestion, account_id, provider="fal", name="render", at_most_usd=Decimal("0.40")) as action:
        picture = await render(prompt)
        action.costs(picture.cost_usd)

Hold → call → settle, as everything that the app pays for: the ledger's row is billed by the account's plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial

from chatapp.agent.payer import Bill, Order, Payer, paid, place, to_the_end
from chatapp.billing import admission
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.ingestion import PolarIngestion
from chatapp.ids import new_id


class Action:
    """A guarded action under way: tell it what it cost, as soon as that is known.

    Attributes:
        id: the ledger row's id, and the event's at Polar.
    """

    def __init__(self, id: str, order: Order) -> None:
        self.id = id
        self._order = order
        self._bill: Bill | None = Bill(order.bound, exact=order.bound_cost_usd == 0, cost_usd=order.bound_cost_usd)

    def costs(self, cost_usd: Decimal, *, exact: bool = True) -> None:
        """It cost this, in dollars; what counts is said last. What is above the bound is charged to no customer.

        Args:
            cost_usd: the cost.
            exact: False for an estimate, which is never entered above the bound.

        Raises:
            ValueError: it is no amount of dollars; what was said before stands.
        """
        self._bill = Bill(self._order.bound, exact=exact, cost_usd=_dollars(cost_usd))

    def was_free(self) -> None:
        """It was certainly not carried out, or cost nothing: the money is given back, and no row is entered."""
        self._bill = None

    def bill(self, error: BaseException | None) -> Bill | None:
        """What is entered, however it ended. See `payer.Billing`."""
        return self._bill


@asynccontextmanager
async def guard(
    ingestion: PolarIngestion, account_id: str, *, provider: str, name: str, at_most_usd: Decimal
) -> AsyncIterator[Action]:
    """Admit an action, set its bound aside, run it, and enter what it cost.

    However the block ends, by its end, an exception or a cancel, the rule is the same:
    - a cost that was told by `costs` is entered, and charged as the plan says;
    - after `was_free` the money is given back and nothing is entered;
    - with neither, the bound is entered as an estimate: what was sent and not answered may have cost all of it.
    If the process dies, or the database fails for longer than a settlement is tried, the bound is entered when the
    hold's lease has run out, and the platform bears it, up to a dollar a day and account: nobody knows whether the
    customer got anything. Such an action stays counted in the quotas.

    Each action counts as one question in the plan's quotas, unless it was free.

    Args:
        ingestion: on whose database, with whose limits.
        account_id: who pays.
        provider: who is paid.
        name: what is done.
        at_most_usd: the most that it can cost, in dollars.

    Raises:
        SpendingRefused: the account may spend nothing now. Nothing was done.
        InsufficientFunds: the bound does not fit into what is left. Nothing was done.
        UnknownAccount: there is no such account.
        ValueError: `at_most_usd` is no amount of dollars.
    """
    order = Order("tool", provider, name, None, _dollars(at_most_usd), {"calls": 1})
    await asyncio.to_thread(ingestion.require_account, account_id)
    uncount = partial(_uncount, ingestion)
    entitlement = await to_the_end(
        partial(admission.admit, ingestion.db, ingestion.settings, account_id, ingestion.now()), undo=uncount)
    payer = Payer(ingestion.db, entitlement, turn_id=new_id(), thread_id="", now=ingestion.now)
    try:
        hold = await place(payer, order)
    except BaseException:  # a cancel, too: nothing is held, and nothing was done
        await to_the_end(partial(uncount, entitlement))
        raise
    action = Action(hold.id, order)
    try:
        async with paid(payer, hold, bill=action.bill, estimate=lambda: order.bound):
            yield action
    finally:
        if action.bill(None) is None:
            await to_the_end(partial(uncount, entitlement))


def _uncount(ingestion: PolarIngestion, entitlement: Entitlement) -> None:
    if entitlement.counted:
        admission.give_back(ingestion.db, entitlement)


def _dollars(amount: object) -> Decimal:
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise ValueError(f"{amount!r} is a {type(amount).__name__}; it has to be a Decimal, in dollars.")
    if not (dollars := Decimal(amount)).is_finite() or dollars < 0:
        raise ValueError(f"{dollars} is no amount of dollars.")
    return dollars
