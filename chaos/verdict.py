"""The run in figures, and which of them are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from chaos.books import Books, Charge
from chaos.comparison import Comparison, compare

NANO = 10**9
ROUNDING_NANOUSD = Decimal("0.5")
"""What rounding once to a whole nano-dollar may add to or take from one row."""
SHOWN = 20


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        most: the largest value that is right; None where any is.
        evidence: what is wrong, one text each.
    """

    title: str
    value: Decimal | int
    most: Decimal | int | None = None
    evidence: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether it is as it must be."""
        return self.most is None or self.value <= self.most


@dataclass(frozen=True)
class Verdict:
    """All figures of a run."""

    lines: tuple[Line, ...] = field(default_factory=tuple)

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return all(line.right for line in self.lines)

    def __getitem__(self, title: str) -> Line:
        return next(line for line in self.lines if line.title == title)

    def table(self) -> str:
        """One line for each figure, and the evidence for those that are wrong."""
        width = max(len(line.title) for line in self.lines)
        shown = []
        for line in self.lines:
            bound = "" if line.most is None else f"  (at most {line.most})" if line.most else "  (must be 0)"
            shown.append(f"{line.title:{width}}  {line.value:>12,}{bound}{'' if line.right else '  WRONG'}")
            if not line.right:
                shown += [f"    {text}" for text in line.evidence[:SHOWN]]
        return "\n".join(shown)


def judge(books: Books) -> Verdict:
    """Hold the books against each other."""
    comparison = compare(books)
    return Verdict((*_asked(books), *_served(books), *_recorded(books, comparison), *_at_polar(books),
                    *_left_over(books), *_sums(books, comparison)))


def _asked(books: Books) -> list[Line]:
    lost = sorted(set(books.acknowledged) - books.threads)
    ends, turns = books.answers, Counter[str]()
    for charge in books.charges:
        turns[charge.turn_id] += charge.charge_nanousd
    other = [f"turn {turn} shows {shown}, the ledger has {turns[turn]}" for turn, shown in books.shown_nanousd.items()
             if shown != turns[turn]]
    return [
        Line("questions acknowledged", len(books.acknowledged)),
        Line("questions in the database", len(books.threads)),
        Line("acknowledged and lost", len(lost), 0, tuple(f"thread {thread}" for thread in lost)),
        *(Line(f"answers {state}", ends.get(state, 0)) for state in ("done", "interrupted", "failed", "stopped")),
        Line("answers never ended", ends.get("streaming", 0), 0),
        Line("answers that show another price", len(other), 0, tuple(other)),
    ]


def _served(books: Books) -> list[Line]:
    count = Counter(one.vendor for one in books.served)
    return [Line("model requests served", count["llm"]), Line("searches served", count["valyu"]),
            Line("programs served", count["daytona"])]


def _recorded(books: Books, comparison: Comparison) -> list[Line]:
    steps = [charge for charge in books.charges if not charge.corrects]
    estimates = [charge for charge in steps if not charge.exact]
    unseen = [charge for charge in estimates if charge.id not in comparison.pairs]
    twice = _repeated(charge.id for charge in books.charges)
    return [
        Line("events recorded", len(books.charges)),
        Line("- of these estimates", len(estimates)),
        Line("- of these sent, never served", len(unseen)),
        Line("- of these borne by the platform", sum(charge.platform for charge in books.charges)),
        Line("- of these corrections", len(books.charges) - len(steps)),
        Line("served, not in the ledger", len(comparison.missing), 0, tuple(map(str, comparison.missing))),
        Line("charged exactly, never served", len(comparison.unserved) + len(twice), 0,
             (*map(_brief, comparison.unserved), *twice)),
    ]


def _at_polar(books: Books) -> list[Line]:
    ledger = {charge.id: charge for charge in books.charges}
    arrived = Counter(event.external_id for event in books.events)
    lost = [_brief(charge) for charge in ledger.values() if charge.id not in arrived]
    doubled = [f"{key} arrived {times} times" for key, times in arrived.items() if times > 1]
    foreign = [str(event) for event in books.events if event.external_id not in ledger]
    wrong = [f"{event} for {_brief(ledger[event.external_id])}" for event in books.events
             if event.external_id in ledger and not _same(ledger[event.external_id], event.name, event.charge_nanousd)]
    return [
        Line("events delivered", books.delivered),
        Line("events at Polar", len(books.events)),
        Line("- of these billed", sum(event.name == "usage" for event in books.events)),
        Line("lost", len(lost), 0, tuple(lost)),
        Line("doubled", len(doubled) + len(foreign), 0, (*doubled, *foreign)),
        Line("billed with another figure", len(wrong), 0, tuple(wrong)),
    ]


def _same(charge: Charge, name: str, charge_nanousd: int) -> bool:
    return (name == "usage") == charge.billable and charge_nanousd == charge.charge_nanousd


def _left_over(books: Books) -> list[Line]:
    return [
        Line("events waiting", books.waiting, 0), Line("events parked", books.parked, 0),
        Line("holds left", books.holds, 0),
        Line("nano-dollars held", sum(abs(account.held_nanousd) for account in books.accounts), 0,
             tuple(map(str, books.accounts))),
    ]


def _sums(books: Books, comparison: Comparison) -> list[Line]:
    """Per account: the ledger's sum, the running total, Polar's meter, and the exact cost with its markup."""
    off: list[tuple[Decimal, Decimal]] = []
    totals, meters = [], []
    for account in books.accounts:
        rows = [charge for charge in books.charges if charge.account_id == account.id]
        billed = sum(charge.charge_nanousd for charge in rows if charge.billable)
        if billed != account.charged_nanousd:
            totals.append(f"{account.id}: the ledger has {billed}, its running total is {account.charged_nanousd}")
        if billed != account.metered_nanousd:
            meters.append(f"{account.id}: the ledger has {billed}, Polar's meter {account.metered_nanousd}")
        off.append((abs(_difference(rows, comparison)), ROUNDING_NANOUSD * len(rows)))
    largest = max(off, key=_first, default=(Decimal(0), Decimal(0)))
    beyond = [pair for pair in off if pair[0] > pair[1]]
    return [
        Line("accounts", len(books.accounts)),
        Line("nano-dollars charged", sum(charge.charge_nanousd for charge in books.charges)),
        Line("running totals that differ", len(totals), 0, tuple(totals)),
        Line("Polar's meters that differ", len(meters), 0, tuple(meters)),
        Line("largest |charges - exact cost x 1.2| of an account, nano-dollars", largest[0], largest[1]),
        Line("accounts beyond what rounding once allows", len(beyond), 0,
             tuple(f"{value} where {allowed} is allowed" for value, allowed in beyond)),
    ]


def _first(pair: tuple[Decimal, Decimal]) -> Decimal:
    return pair[0]


def _difference(rows: Sequence[Charge], comparison: Comparison) -> Decimal:
    """Charges, with what the platform bore of them, less the exact cost with its markup, in nano-dollars.

    The cost of what was measured is the vendor's own where its log tells one; an estimate's is the ledger's.
    """
    with localcontext() as context:
        context.prec = 60
        total = Decimal(0)
        for charge in rows:
            cost = charge.cost_usd
            if charge.exact and charge.id in comparison.pairs:
                told = comparison.pairs[charge.id].cost_usd
                cost = cost if told is None else told
            wanted = cost * (1 + charge.markup) * NANO if charge.billable else Decimal(0)
            total += charge.charge_nanousd + charge.overrun_nanousd - wanted
        return total.normalize()


def _repeated(keys: Iterable[str]) -> list[str]:
    return [f"{key} is in the ledger {times} times" for key, times in Counter(keys).items() if times > 1]


def _brief(charge: Charge) -> str:
    return (f"{charge.id} {charge.name} {charge.status} exact={charge.exact} {charge.tokens} "
            f"charge={charge.charge_nanousd} placed={charge.placed_at:%H:%M:%S.%f} "
            f"settled={charge.settled_at:%H:%M:%S.%f} turn={charge.turn_id}")


