"""What was served against the ledger: nothing may be missing, and nothing may be charged that was not served.

No vendor's log names our ids, so that rows are paired: by the question that a request was for (a program by its chat),
by time, and where the ledger has exact figures, by tokens or cost. The largest matching leaves as little over as can
be; so what it leaves over is certainly wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaos.books import Books, Charge, Served
from chaos.matching import matching

EARLY = timedelta(seconds=0.5)
"""For clocks that are read in two processes."""
LATE = timedelta(seconds=6)
"""A slow vendor may come to a request only after its sender has died: longer than any `slow` of a plan."""
TOOLS = {"search": "valyu", "run_code": "daytona"}


@dataclass(frozen=True)
class Comparison:
    """What is left over.

    Attributes:
        missing: served, and not in the ledger.
        unserved: in the ledger with exact figures, and never served: charged twice, or for nothing.
        pairs: ledger rows by id, with what they were paired with.
    """

    missing: tuple[Served, ...]
    unserved: tuple[Charge, ...]
    pairs: dict[str, Served]


def compare(books: Books) -> Comparison:
    """Pair what was served with the ledger's rows."""
    steps = {charge.id: charge for charge in books.charges if not charge.corrects}
    served = {one.id: one for one in books.served}
    wishes = _wishes(list(steps.values()), books.served, books.kills)
    exact = [charge.id for charge in steps.values() if charge.exact]
    found = matching(wishes, first=exact)
    paired = set(found.values())
    return Comparison(
        missing=tuple(one for one in books.served if one.id not in paired),
        unserved=tuple(steps[charge_id] for charge_id in exact if charge_id not in found),
        pairs={charge_id: served[served_id] for charge_id, served_id in found.items()},
    )


def _wishes(
    charges: Sequence[Charge], served: Sequence[Served], kills: Sequence[datetime]
) -> dict[str, list[str]]:
    """For each ledger row, what it could be the record of."""
    owned: dict[tuple[str, str], list[Served]] = {}
    for one in served:
        owned.setdefault((one.vendor, one.turn_id or one.thread_id), []).append(one)
    wishes = {}
    for charge in charges:
        vendor = "llm" if charge.is_model else TOOLS.get(charge.name, charge.name)
        own = charge.thread_id if vendor == "daytona" else charge.turn_id
        likely = [*owned.get((vendor, own), ()), *owned.get((vendor, ""), ())]
        first, last = charge.placed_at - EARLY, _end(charge, kills) + LATE
        wishes[charge.id] = [one.id for one in likely if first <= one.at <= last and _fits(charge, one)]
    return wishes


def _end(charge: Charge, kills: Sequence[datetime]) -> datetime:
    """When the step was over: it was settled, or its process was killed and a later one settled it."""
    after = bisect_right(kills, charge.placed_at)
    killed = kills[after] if charge.status == "interrupted" and after < len(kills) else charge.settled_at
    return min(killed, charge.settled_at)


def _fits(charge: Charge, one: Served) -> bool:
    """Exact figures must be the vendor's own."""
    if not charge.exact:
        return True
    if one.vendor == "llm":
        return one.complete and one.tokens == charge.tokens
    return one.cost_usd is None or one.cost_usd == charge.cost_usd
