"""A hold as a value and as a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, cast

from sqlalchemy import bindparam, delete
from sqlmodel import Session, col

from chatapp.billing import pricing
from chatapp.billing.pricing import UnitPrices
from chatapp.billing.sql import run
from chatapp.ids import HoldId
from chatapp.models import Hold

Bearer: TypeAlias = Literal["customer", "platform"]
CUSTOMER: Final = "customer"
PLATFORM: Final = "platform"

LEASE = timedelta(minutes=5)
"""How long a step may say nothing before it is taken for dead: longer than any timeout of a model or a tool."""


@dataclass(frozen=True)
class PlacedHold:
    """A hold as the step that placed it knows it.

    Attributes:
        id: also the id of the usage event that settles it, and its idempotency key at Polar.
        amount_nanousd: the charge that is set aside.
        cost_bound_nanousd: the most that the step is expected to cost.
        prices: None for a step whose vendor reports the cost itself.
        bearer: who pays for it; for `platform` nothing is set aside and nothing is charged.
    """

    id: HoldId
    account_id: str
    turn_id: str
    thread_id: str
    kind: str
    provider: str
    name: str
    plan_key: str
    markup: Decimal
    billable: bool
    amount_nanousd: int
    cost_bound_nanousd: int
    prices: UnitPrices | None
    bearer: Bearer = CUSTOMER

    def cost_usd(self, quantities: Mapping[str, int], *, reported_usd: Decimal | None = None) -> Decimal:
        """What these quantities cost in dollars: by the unit prices, or as the vendor reported where there are none.

        Raises:
            UnpricedQuantity: neither a price nor a report is there.
        """
        if self.prices is not None:
            return pricing.cost_usd(self.prices, quantities)
        if reported_usd is None:
            raise pricing.UnpricedQuantity(f"{self.provider}'s {self.name} has no unit prices and reported no cost.")
        return reported_usd

    @property
    def terms(self) -> dict[str, Any]:
        """Everything that makes a charge out of quantities, as the ledger keeps it."""
        return {"plan": self.plan_key, "markup": str(self.markup), "billable": self.billable,
                "prices": None if self.prices is None else pricing.as_json(self.prices)}


def row_of(hold: PlacedHold, estimate: Mapping[str, int], now: datetime) -> Hold:
    """The row to insert for a new hold."""
    return Hold(
        id=hold.id, account_id=hold.account_id, turn_id=hold.turn_id, thread_id=hold.thread_id, kind=hold.kind,
        provider=hold.provider, name=hold.name, amount_nanousd=hold.amount_nanousd,
        cost_bound_nanousd=hold.cost_bound_nanousd, terms=hold.terms, estimate=dict(estimate), bearer=hold.bearer,
        placed_at=now, lease_until=now + LEASE,
    )


def hold_of(row: Hold) -> PlacedHold:
    """The value that a row stands for."""
    prices = row.terms["prices"]
    return PlacedHold(
        id=HoldId(row.id), account_id=row.account_id, turn_id=row.turn_id, thread_id=row.thread_id, kind=row.kind,
        provider=row.provider, name=row.name, plan_key=row.terms["plan"], markup=Decimal(row.terms["markup"]),
        billable=row.terms["billable"], amount_nanousd=row.amount_nanousd, cost_bound_nanousd=row.cost_bound_nanousd,
        prices=None if prices is None else pricing.from_json(prices), bearer=cast(Bearer, row.bearer),
    )


def take(session: Session, hold_id: str, *, dead_at: datetime | None = None) -> Hold | None:
    """Remove a hold's row and return it; None if someone else has. Whoever gets it ends the hold.

    With `dead_at` it is taken only if its lease had run out at that time.
    """
    made, values = (_TAKING, {}) if dead_at is None else (_TAKING_DEAD, {"dead_at": dead_at})
    found = run(session, made, {"hold": hold_id, **values}).one_or_none()
    return None if found is None else Hold(**found._mapping)


_TAKING = delete(Hold).where(col(Hold.id) == bindparam("hold")).returning(*Hold.__table__.columns)  # type: ignore[attr-defined]  # SQLModel adds it
_TAKING_DEAD = _TAKING.where(col(Hold.lease_until) < bindparam("dead_at"))
