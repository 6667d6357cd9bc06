"""What the tools cost whose vendor does not say so: the one table of list prices, each with its date.

A search costs what Valyu reports with its answer. Where an answer names no price, or never came, it is taken for its
cap: the most results that were asked for, each at the dearest price that was allowed.

Daytona reports no cost. A program is billed for the sandbox's size and its running time, in thousandths of a second.
"""

from __future__ import annotations

from decimal import Decimal

from chatapp.billing.pricing import UnitPrices

_MILLISECONDS_PER_HOUR = 3_600_000

DAYTONA = UnitPrices("daytona", "sandbox", "Daytona's list prices, November 2026", {
    "cpu_milliseconds": Decimal("0.0504") / _MILLISECONDS_PER_HOUR,
    "memory_gib_milliseconds": Decimal("0.0162") / _MILLISECONDS_PER_HOUR,
    "disk_gib_milliseconds": Decimal("0.000108") / _MILLISECONDS_PER_HOUR,
})
OWN_MACHINE = UnitPrices("chatapp", "sandbox", "our own processor", {"runs": Decimal(0)})
START_UP_SECONDS = Decimal(10)
"""The most that is billed for starting a sandbox, whatever it took."""
ANSWER_SECONDS = Decimal(6)
"""How much longer than the program's own limit an answer may take; Daytona's SDK gives up five seconds after it."""
VALYU_PAGE_USD = Decimal("0.001")
"""What reading one page costs, November 2026."""
_RUNNERS = {"daytona": DAYTONA, "monty": OWN_MACHINE}


def of_runner(name: str) -> UnitPrices | None:
    """The list prices of a sandbox; None for one that reports its cost itself."""
    return _RUNNERS.get(name)


def most_of_a_run(name: str, timeout_seconds: float) -> dict[str, int]:
    """The most that one program can use, for a hold: at Daytona of the default sandbox, 1 CPU, 1 GiB and 3 GiB disk."""
    if of_runner(name) is not DAYTONA:
        return {"runs": 1}
    seconds = whole_seconds(timeout_seconds) + ANSWER_SECONDS + START_UP_SECONDS
    return sandbox_quantities(seconds, cpu=1, memory_gib=1, disk_gib=3)


def whole_seconds(timeout_seconds: float) -> int:
    """A program's time limit as Daytona takes it: whole seconds, at least one."""
    return max(1, round(timeout_seconds))


def sandbox_quantities(seconds: Decimal, *, cpu: int, memory_gib: int, disk_gib: int) -> dict[str, int]:
    """What a sandbox of this size uses in these seconds, which have at most three decimals."""
    milliseconds = int(seconds * 1000)
    return {
        "cpu_milliseconds": cpu * milliseconds, "memory_gib_milliseconds": memory_gib * milliseconds,
        "disk_gib_milliseconds": disk_gib * milliseconds,
    }


def search_cap(usd_per_thousand: int) -> UnitPrices:
    """The prices of a search whose cost is not reported: each result is taken to cost the most that was allowed."""
    return UnitPrices("valyu", "search", "not reported: assumed at the price cap of the request",
                      {"results": Decimal(usd_per_thousand) / 1000})
