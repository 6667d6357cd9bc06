"""The plans: constants that the page shows, the checks enforce, and Polar's catalogue is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

NO_LIMIT_USD = Decimal(1_000_000)
"""Stands for "no limit" where a figure is needed: more than any turn can cost, and still a number to compute with."""


@dataclass(frozen=True)
class Quota:
    """So many of something per period: `Quota("questions", 3, "day")`. Days are UTC days."""

    name: str
    limit: int
    per: Literal["day"]


@dataclass(frozen=True)
class Plan:
    """What a customer gets and pays.

    Attributes:
        key: its name in the database and at Polar; never changed once sold.
        name: what people read.
        markup: on the cost, `Decimal("0.20")` for 20 % (a margin of 16.7 %).
        billable: whether usage is charged, or included.
        quotas: counts per period.
        price_usd_per_month: the fixed part.
        max_turn_cost_usd: the most that one question may cost the platform.
        allowance_usd: the cost that is included per period; None where nothing limits it.
        spend_limit_usd: what a customer may be charged per period until they choose a limit themselves; None where
            nothing limits it.
        for_sale: whether a checkout leads to it.
    """

    key: str
    name: str
    markup: Decimal
    billable: bool
    quotas: tuple[Quota, ...]
    price_usd_per_month: Decimal
    max_turn_cost_usd: Decimal
    allowance_usd: Decimal | None = None
    spend_limit_usd: Decimal | None = None
    for_sale: bool = False

    @property
    def limited(self) -> bool:
        """False for what `without_limits` returned."""
        return self.max_turn_cost_usd < NO_LIMIT_USD


VISITOR = Plan(
    key="visitor", name="Visitor", markup=Decimal(0), billable=False, quotas=(Quota("questions", 3, "day"),),
    price_usd_per_month=Decimal(0), max_turn_cost_usd=Decimal("0.10"),
)
FREE = Plan(
    key="free", name="Free", markup=Decimal(0), billable=False, quotas=(Quota("questions", 5, "day"),),
    price_usd_per_month=Decimal(0), max_turn_cost_usd=Decimal("0.25"),
)
PAY_PER_USE = Plan(
    key="pay_per_use", name="Pay per use", markup=Decimal("0.20"), billable=True, quotas=(),
    price_usd_per_month=Decimal(0), max_turn_cost_usd=Decimal(5), spend_limit_usd=Decimal(100), for_sale=True,
)
UNLIMITED = Plan(
    key="unlimited", name="Unlimited", markup=Decimal(0), billable=False, quotas=(),
    price_usd_per_month=Decimal(200), max_turn_cost_usd=Decimal(5), for_sale=True,
)

PLANS: dict[str, Plan] = {plan.key: plan for plan in (VISITOR, FREE, PAY_PER_USE, UNLIMITED)}


def without_limits(plan: Plan) -> Plan:
    """The plan with nothing that refuses or stops: what it bills, it still bills."""
    return replace(plan, quotas=(), max_turn_cost_usd=NO_LIMIT_USD, allowance_usd=None, spend_limit_usd=None)
