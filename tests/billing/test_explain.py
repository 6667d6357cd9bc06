"""A charge in words: whoever reads it can recompute every line by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from chatapp.billing import corrections, holds, ledger, rates
from chatapp.billing.catalog import FREE
from chatapp.billing.explain import explain
from chatapp.billing.pricing import Rates, Tier, UnitPrices, cost_usd
from chatapp.db import Database
from chatapp.models import UsageEvent
from tests.billing.conftest import NOON, PRICES, Place, entitlement

TIERED = replace(
    PRICES, tiers=(Tier(1000, {bucket: 2 * price for bucket, price in PRICES.usd_per_unit.items()}),),
    service_tiers={"priority": Rates({"output_tokens": Decimal("0.00004")})},
)
LATER = NOON + timedelta(minutes=30)


def settled(db: Database, hold: holds.PlacedHold, used: dict[str, int], *, exact: bool = True,
            reported: str | None = None) -> str:
    ledger.settle(db, hold, used, exact=exact, status="ok", now=NOON,
                  cost_usd=None if reported is None else Decimal(reported))
    return text(db, hold.id)


def text(db: Database, event_id: str) -> str:
    said = explain(db, event_id)
    assert said is not None
    assert_recomputable(said)
    return said


def number(amount: str) -> Decimal:
    return Decimal(amount.replace("$", ""))


def assert_recomputable(said: str) -> None:
    """Do by hand what the lines say."""
    total = Decimal(0)
    for quantity, unit, product in re.findall(r"^  (-?\d+) \w+ × \$([\d.]+) = (-?\$[\d.]+)$", said, re.M):
        assert Decimal(quantity) * Decimal(unit) == number(product)
        total += number(product)
    for together in re.findall(r"^  together (-?\$[\d.]+) ", said, re.M):
        assert number(together) == total
    (cost, why), = re.findall(r"^cost (-?\$[\d.]+).*\((.*)\)$", said, re.M)
    assert not why.startswith("the sum above") or number(cost) == total
    for base, markup, product, rounded in re.findall(
        r"^charge (-?\$[\d.]+) × \(1 \+ ([\d.]+)\) = (-?\$[\d.]+), in whole nano-dollars (-?\$[\d.]+)$", said, re.M
    ):
        assert number(base) == number(cost)
        assert number(base) * (1 + Decimal(markup)) == number(product)
        assert round(number(product), 9) == number(rounded)
        borne = re.findall(r"borne by the platform: (-?\$[\d.]+)$", said, re.M)
        (charged,) = re.findall(r"^charged (-?\$[\d.]+) ", said, re.M)
        assert number(charged) == number(rounded) - sum(map(number, borne))


def test_a_measured_request_is_its_quantities_times_their_prices(db: Database, place: Place) -> None:
    said = settled(db, place(), {"input_tokens": 400, "cache_read_tokens": 500, "output_tokens": 77})
    assert "  400 input_tokens × $0.0000025 = $0.0010000" in said
    assert "prices: test" in said
    assert "charged $0.002274" in said


@pytest.mark.parametrize(("input_tokens", "where"), [(1000, "up to 1000 tokens"), (1001, "above 1000 tokens")])
def test_the_tier_that_was_applied_is_named(db: Database, place: Place, input_tokens: int, where: str) -> None:
    hold = place(prices=TIERED, bound_cost_usd=Decimal(1))
    assert f"of an input {where}" in settled(db, hold, {"input_tokens": input_tokens, "output_tokens": 1})


def test_the_service_tier_that_was_applied_is_named(db: Database, place: Place) -> None:
    hold = place(prices=TIERED, bound_cost_usd=Decimal(1))
    said = settled(db, hold, {"input_tokens": 10, "output_tokens": 1, "service_tier_priority": 1})
    assert "service tier priority" in said
    assert "1 output_tokens × $0.00004 = $0.00004" in said


def test_an_estimate_above_its_hold_is_the_hold(db: Database, place: Place) -> None:
    said = settled(db, place(), {"input_tokens": 5000, "output_tokens": 100}, exact=False)
    assert "cost $0.0035 (an estimate, which never exceeds its hold)" in said.replace("$0.003500000", "$0.0035")


def test_what_is_above_the_hold_is_borne_by_the_platform(db: Database, place: Place) -> None:
    said = settled(db, place(), {"input_tokens": 5000, "output_tokens": 100})
    assert "above the hold, borne by the platform: $0.012" in said
    assert "charged $0.0042" in said


def test_a_fraction_of_a_nano_dollar_is_rounded_where_it_is_said(db: Database, place: Place) -> None:
    prices = UnitPrices("p", "m", "test", {"input_tokens": Decimal("0.00000000025"), "output_tokens": Decimal(0)})
    said = settled(db, place(prices=prices), {"input_tokens": 3})
    assert "cost $0.00000000075, in whole nano-dollars $0.000000001" in said


def test_a_search_says_whether_the_vendor_reported_its_cost(db: Database, place: Place) -> None:
    def search() -> holds.PlacedHold:
        return place(kind="tool", provider="valyu", name="search", prices=rates.search_cap(10),
                     bound_cost_usd=Decimal("0.08"), quantities_bound={"results": 8})

    assert "cost $0.0105 (reported by the vendor)" in settled(db, search(), {"calls": 1}, reported="0.0105")
    assumed = settled(db, search(), {"results": 8}, exact=False, reported="0.08")
    assert "8 results × $0.01 = $0.08" in assumed
    assert "assumed at the price cap" in assumed


def test_a_search_without_a_price_list_says_that_its_cap_was_assumed(db: Database, place: Place) -> None:
    hold = place(kind="tool", prices=None, bound_cost_usd=Decimal("0.08"), quantities_bound={"searches": 1})
    assert "the vendor reported none" in settled(db, hold, {"searches": 1}, exact=False, reported="0.08")


def test_a_program_is_its_time_at_the_dated_list_price(db: Database, place: Place) -> None:
    bound = rates.most_of_a_run("daytona", 30)
    hold = place(kind="tool", provider="daytona", name="run_code", prices=rates.DAYTONA, quantities_bound=bound,
                 bound_cost_usd=cost_usd(rates.DAYTONA, bound))
    used = rates.sandbox_quantities(Decimal("2.345"), cpu=1, memory_gib=1, disk_gib=3)
    said = settled(db, hold, used)
    assert "  2345 cpu_milliseconds × $0.000000014 = $0.000032830" in said
    assert "Daytona's list prices, November 2026" in said


def test_an_own_sandbox_costs_nothing_by_its_price_list(db: Database, place: Place) -> None:
    hold = place(kind="tool", provider="monty", name="run_code", prices=rates.OWN_MACHINE, bound_cost_usd=Decimal(0),
                 quantities_bound=rates.most_of_a_run("monty", 30))
    said = settled(db, hold, {"runs": 1})
    assert "1 runs × $0 = $0" in said
    assert "our own processor" in said


def test_a_correction_explains_both_of_its_rows(db: Database, place: Place) -> None:
    hold = place()
    holds.checkpoint(db, hold, {"input_tokens": 294, "output_tokens": 10}, NOON)
    assert holds.sweep(db, LATER) == 1
    real = {"input_tokens": 200, "output_tokens": 20}
    right = ledger.settle(db, hold, real, exact=True, status="ok", now=LATER)
    said = text(db, right.id)
    assert f"replaces row {hold.id}" in said
    assert "above the row that it corrects" not in said
    assert "charged $0.00084" in said
    with db.reading() as session:
        reversal = session.exec(select(UsageEvent.id).where(UsageEvent.status == corrections.REVERSAL)).one()
    taken_back = text(db, reversal)
    assert f"takes back row {hold.id}" in taken_back
    assert "  -294 input_tokens × $0.0000025 = -$0.0007350" in taken_back
    assert "charged -$0.001002" in taken_back
    estimate = text(db, hold.id)
    assert "estimated" in estimate
    assert f"taken back since: row {right.id} stands in its place, charged $0.00084" in estimate
    assert "taken back since" not in said + taken_back


def test_a_correction_that_costs_more_is_borne_by_the_platform(db: Database, place: Place) -> None:
    hold = place()
    settled(db, hold, {"input_tokens": 100, "output_tokens": 1})
    used = {"input_tokens": 200, "output_tokens": 2}
    right = corrections.correct(db, hold.id, used, cost_usd(PRICES, used), reason="the vendor's invoice", now=LATER)
    said = text(db, right.id)
    assert "the vendor's invoice" in said
    assert "above the row that it corrects, borne by the platform: $0.000312" in said


def test_what_the_platform_bears_and_what_a_plan_includes_is_charged_to_nobody(
    db: Database, place: Place, account: str
) -> None:
    side = place(bearer="platform")
    assert "charge nothing: the platform bears it" in settled(db, side, {"input_tokens": 10, "output_tokens": 1})
    free = place(entitlement=entitlement(account, FREE))
    assert "charge nothing: included in the plan free" in settled(db, free, {"input_tokens": 10, "output_tokens": 1})
