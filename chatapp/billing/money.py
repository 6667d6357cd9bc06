"""Money: Decimal dollars until the one rounding in `price()`, integer nano-dollars ever after. No float anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext

NANO_PER_USD = 10**9
NANO_PER_MICRO = 10**3
NANO_PER_CENT = 10**7

_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
"""Wide enough that no product of a quantity, a unit price and a markup is rounded before `price()` rounds it."""


@dataclass(frozen=True)
class Price:
    """What one step costs the platform and what its customer is billed, in integer nano-dollars."""

    cost_nanousd: int
    charge_nanousd: int


def price(cost_usd: Decimal, *, markup: Decimal, billable: bool) -> Price:
    """The cost, and the charge `cost × (1 + markup)`, each rounded once from the exact cost.

    Halves go to the even neighbour: over many events the errors cancel out, where rounding half up would add half a
    nano-dollar to every second tie, always at the customer's expense.

    Args:
        cost_usd: what the platform pays, in dollars; finite and not negative.
        markup: `Decimal("0.20")` for 20 %.
        billable: False for usage that a plan includes: its charge is 0.

    Raises:
        ValueError: for a negative, infinite or missing figure. An unknown cost is never taken for zero.
    """
    for name, value in (("cost", cost_usd), ("markup", markup)):
        if not value.is_finite() or value < 0:
            raise ValueError(f"A {name} of {value} is no price.")
    with localcontext(_WIDE):
        charge_usd = cost_usd * (1 + markup) if billable else Decimal(0)
        return Price(_nearest_nano(cost_usd), _nearest_nano(charge_usd))


def floor_nanousd(usd: Decimal) -> int:
    """Dollars in whole nano-dollars, rounded down: for limits, which are never exceeded by a rounding."""
    with localcontext(_WIDE):
        return int((usd * NANO_PER_USD).to_integral_value(rounding=ROUND_FLOOR))


def usd(nanousd: int) -> Decimal:
    """Nano-dollars in dollars, exactly."""
    with localcontext(_WIDE):
        return Decimal(nanousd) / NANO_PER_USD


def microusd(nanousd: int) -> Decimal:
    """Nano-dollars in micro-dollars, exactly: at most three decimals, as Polar's meter sums them."""
    with localcontext(_WIDE):
        return Decimal(nanousd) / NANO_PER_MICRO


def cost_that_charges_at_most(charge_nanousd: int, *, markup: Decimal) -> int:
    """The largest cost, in nano-dollars, whose charge is not above `charge_nanousd`; 0 if that is negative."""
    with localcontext(_WIDE):
        return max(0, int((Decimal(charge_nanousd) / (1 + markup)).to_integral_value(rounding=ROUND_FLOOR)))


def format_usd(nanousd: int) -> str:
    """An amount as people read it: cents from a dollar up, below that two significant digits: `$0.0042`.

    Only zero is shown as `$0.00`.
    """
    sign, amount = ("-" if nanousd < 0 else ""), abs(usd(nanousd))
    decimals = 2 if amount == 0 or amount >= 1 else max(2, 1 - amount.adjusted())
    whole, point, cents = f"{amount.quantize(Decimal(1).scaleb(-decimals), context=_WIDE):,f}".partition(".")
    return f"{sign}${whole}{point}{cents.rstrip('0').ljust(2, '0')}"


def format_limit(nanousd: int) -> str:
    """An amount that a person chose, as they would write it: `$50`, with cents only where there are any."""
    return format_usd(nanousd).removesuffix(".00")


def _nearest_nano(amount_usd: Decimal) -> int:
    return int((amount_usd * NANO_PER_USD).to_integral_value(rounding=ROUND_HALF_EVEN))
