"""Money is exact, rounded once, and readable."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing.money import (
    NANO_PER_USD,
    cost_that_charges_at_most,
    floor_nanousd,
    format_usd,
    microusd,
    price,
    usd,
)

costs = st.decimals(min_value=0, max_value=10_000, places=15)
markups = st.decimals(min_value=0, max_value=3, places=4)
amounts = st.integers(min_value=-10**15, max_value=10**15)


@given(costs, markups)
def test_cost_and_charge_are_within_half_a_nano_dollar_of_the_exact_figures(cost: Decimal, markup: Decimal) -> None:
    priced = price(cost, markup=markup, billable=True)
    assert abs(priced.cost_nanousd - Fraction(cost) * NANO_PER_USD) <= Fraction(1, 2)
    assert abs(priced.charge_nanousd - Fraction(cost) * (1 + Fraction(markup)) * NANO_PER_USD) <= Fraction(1, 2)


@given(costs, costs, markups)
def test_a_dearer_step_is_never_charged_less(first: Decimal, second: Decimal, markup: Decimal) -> None:
    low, high = sorted((first, second))
    assert (price(low, markup=markup, billable=True).charge_nanousd
            <= price(high, markup=markup, billable=True).charge_nanousd)


@given(costs, markups)
def test_usage_that_is_included_is_charged_nothing(cost: Decimal, markup: Decimal) -> None:
    assert price(cost, markup=markup, billable=False).charge_nanousd == 0


def test_twenty_calls_at_fifteen_hundredths_of_a_cent_are_charged_exactly() -> None:
    charge = price(Decimal("0.0015"), markup=Decimal("0.20"), billable=True).charge_nanousd
    assert usd(20 * charge) == Decimal("0.036")


def test_a_tie_goes_to_the_even_neighbour() -> None:
    assert price(Decimal("0.0000000005"), markup=Decimal(0), billable=True).charge_nanousd == 0
    assert price(Decimal("0.0000000015"), markup=Decimal(0), billable=True).charge_nanousd == 2


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-0.01"])
def test_an_unknown_or_negative_cost_has_no_price(cost: str) -> None:
    with pytest.raises(ValueError, match="no price"):
        price(Decimal(cost), markup=Decimal(0), billable=True)


@given(st.integers(min_value=-10**12, max_value=10**12), markups)
def test_what_still_fits_is_never_charged_above_what_is_left(left: int, markup: Decimal) -> None:
    cost = cost_that_charges_at_most(left, markup=markup)
    assert price(usd(cost), markup=markup, billable=True).charge_nanousd <= max(0, left)


@given(amounts)
def test_micro_dollars_are_exact_with_three_decimals(nanousd: int) -> None:
    assert microusd(nanousd) * 1000 == nanousd
    assert microusd(nanousd) == microusd(nanousd).quantize(Decimal("0.001"))


@given(st.decimals(min_value=0, max_value=10**6, places=12))
def test_a_limit_in_dollars_is_rounded_down(limit: Decimal) -> None:
    assert 0 <= limit - usd(floor_nanousd(limit)) < Decimal("0.000000001")


@pytest.mark.parametrize(("nanousd", "text"), [
    (0, "$0.00"), (4_200_000, "$0.0042"), (1, "$0.000000001"), (500_000_000, "$0.50"), (123_456_789, "$0.12"),
    (99_900_000, "$0.10"), (1_000_000_000, "$1.00"), (1_234_567_890_000, "$1,234.57"), (-4_200_000, "-$0.0042"),
    (999_999_999, "$1.00"),
])
def test_amounts_are_shown_with_sensible_digits(nanousd: int, text: str) -> None:
    assert format_usd(nanousd) == text


@given(amounts)
def test_only_zero_is_shown_as_zero(nanousd: int) -> None:
    shown = Decimal(format_usd(nanousd).replace("$", "").replace(",", ""))
    assert (shown == 0) == (nanousd == 0)
