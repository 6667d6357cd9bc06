"""The reference model: what billing must do, in plain Python over lists, with fractions for money.

It shares no code with what it judges: plans, periods and prices are written down here a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

NANO = 10**9
UNIT = {"input_tokens": Fraction("0.0000025"), "output_tokens": Fraction("0.00001")}
LEASE = timedelta(minutes=5)
MOST_BORNE = NANO
"""A dollar: so much of an account's own steps the platform bears within a day."""
ONGOING = ("active", "past_due")


@dataclass(frozen=True)
class Terms:
    """What a plan means here: the markup's factor where usage is billed, what a turn may cost, questions per day."""

    name: str
    factor: Fraction
    turn_nanousd: int
    per_day: int | None = None
    limit_nanousd: int | None = None

    @property
    def billable(self) -> bool:
        return self.factor > 0


TERMS = {
    "free": Terms("free", Fraction(0), NANO // 4, per_day=5),
    "pay_per_use": Terms("pay_per_use", Fraction(6, 5), 5 * NANO, limit_nanousd=100 * NANO),
    "unlimited": Terms("unlimited", Fraction(0), 5 * NANO),
}


def nano(dollars: Fraction) -> int:
    """Whole nano-dollars, halves to the even neighbour."""
    return round(dollars * NANO)


def cost_of(quantities: dict[str, int]) -> Fraction:
    return sum((UNIT[bucket] * count for bucket, count in quantities.items()), Fraction(0))


def exact(value: Fraction) -> Decimal:
    """A fraction whose decimals end, as a decimal."""
    with localcontext(prec=60):
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
    assert Fraction(decimal) == value
    return decimal


def month_after(moment: datetime, months: int = 1) -> datetime:
    """Only for days that every month has."""
    assert moment.day <= 28
    years, month0 = divmod(moment.month - 1 + months, 12)
    return moment.replace(year=moment.year + years, month=month0 + 1)


@dataclass(frozen=True)
class Truth:
    """A subscription as Polar has it."""

    id: str
    plan: str
    status: str
    start: datetime
    end: datetime
    began: datetime
    cancels: bool = False

    def at(self, now: datetime) -> Truth:
        """Periods that ended are renewed, or the subscription ends with them."""
        found = self
        while found.status in ONGOING and found.end <= now:
            if found.cancels:
                return replace(found, status="canceled")
            found = replace(found, start=found.end, end=month_after(found.end))
        return found


@dataclass
class MHold:
    """A hold: `memory` is the process that knows it, None once that process died."""

    id: str
    turn: MTurn
    amount: int
    bound: int
    estimate: Fraction
    lease_until: datetime
    reported: bool
    memory: int | None
    customers: bool = True
    answering: bool = False
    """Some of the answer had arrived at the last checkpoint."""


@dataclass
class MRow:
    """A ledger row."""

    account: str
    turn: str
    cost: int
    charge: int
    exact: bool
    at: datetime
    customers: bool = True
    presumed: bool = False
    """A sweep's estimate."""
    reversal: bool = False
    taken_back: bool = False


@dataclass
class MTurn:
    """A question that was admitted, until it is finished or taken over."""

    id: str
    account: Account
    terms: Terms
    budget: int
    admitted_at: datetime
    memory: int | None
    begun: bool = False
    spent: bool = False


@dataclass
class Account:
    """What is known of an account: the mirror of Polar's word, its own limit, its questions, a switch under way."""

    id: str
    truth: Truth | None = None
    mirror: Truth | None = None
    mirrored_at: datetime | None = None
    own_limit: int | None = None
    asked: dict[datetime, int] = field(default_factory=dict)
    closed_until: datetime | None = None
    switch: str = ""
    """Of a switch that a living process carries out: `begun`, then `done` at Polar."""

    def terms(self, now: datetime) -> Terms:
        mirror = self.mirror
        if mirror is None or mirror.status not in ONGOING or (mirror.cancels and mirror.end <= now):
            return TERMS["free"]
        return TERMS[mirror.plan]

    def period_start(self, now: datetime) -> datetime:
        if self.mirror is None or self.mirror.status not in ONGOING:
            return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        start, end = self.mirror.start, self.mirror.end
        while end <= now:
            start, end = end, month_after(end)
        return start

    def limit(self, terms: Terms) -> int | None:
        if not terms.billable:
            return None
        return terms.limit_nanousd if self.own_limit is None else self.own_limit


def day_of(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class Model:
    """All accounts, turns, holds and rows, and what must come of each step."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.turns: list[MTurn] = []
        self.holds: dict[str, MHold] = {}
        self.rows: dict[str, MRow] = {}

    def committed(self, account: Account, now: datetime) -> int:
        """charged + held in the period around `now`."""
        start = account.period_start(now)
        return sum(row.charge for row in self.rows.values() if row.account == account.id and row.at >= start) + sum(
            hold.amount for hold in self.holds.values() if hold.turn.account is account)

    def turn_cost(self, turn: MTurn) -> int:
        return sum(row.cost for row in self.rows.values() if row.turn == turn.id and row.customers) + sum(
            hold.bound for hold in self.holds.values() if hold.turn is turn and hold.customers)

    def refusal(self, account: Account, now: datetime) -> str:
        """The name of what an admission raises; empty if the question is admitted."""
        terms = account.terms(now)
        if account.closed_until is not None and account.closed_until > now:
            return "PlanChanging"
        if account.mirror is not None and account.mirror.status == "past_due":
            return "PaymentRequired"
        if terms.per_day is not None and account.asked.get(day_of(now), 0) >= terms.per_day:
            return "QuotaReached"
        limit = account.limit(terms)
        return "SpendLimitReached" if limit is not None and self.committed(account, now) >= limit else ""

    def budget(self, account: Account, now: datetime) -> int:
        """The most that a turn may cost: its charge must fit into what is left."""
        terms = account.terms(now)
        limit = account.limit(terms)
        if limit is None:
            return terms.turn_nanousd
        return min(terms.turn_nanousd, int((limit - self.committed(account, now)) / terms.factor))

    def fits(self, turn: MTurn, amount: int, bound: int, now: datetime) -> bool:
        """Whether a hold may be placed: neither the account's limit nor the turn's budget is passed by it."""
        account = turn.account
        if account.closed_until is not None and account.closed_until > turn.admitted_at:
            return False
        limit = account.limit(turn.terms)
        if limit is not None and self.committed(account, now) + amount > limit:
            return False
        return self.turn_cost(turn) + bound <= turn.budget

    def settled(
        self, hold: MHold, cost: Fraction, *, exact: bool, at: datetime, customers: bool = True, presumed: bool = False
    ) -> MRow:
        """End a hold with its row: an estimate is never above the bound, a charge never above the hold."""
        cost = cost if exact else min(cost, Fraction(hold.bound, NANO))
        customers = hold.customers and (customers or not self.bears(hold.turn.account, nano(cost), at))
        charge = min(nano(cost * hold.turn.terms.factor), hold.amount) if customers else 0
        self.holds.pop(hold.id, None)
        row = MRow(hold.turn.account.id, hold.turn.id, nano(cost), charge, exact, at, customers, presumed)
        self.rows[hold.id] = row
        return row

    def swept(self, dead: list[MHold], at: datetime) -> None:
        """Steps whose process died, in the order of their sweeping: what had brought nothing is the platform's."""
        for hold in dead:
            self.settled(hold, hold.estimate, exact=False, at=at, customers=hold.answering, presumed=True)

    def bears(self, account: Account, cost: int, now: datetime) -> bool:
        """Whether the platform pays for one more step of the account: not above a dollar within a day."""
        borne = sum(row.cost for row in self.rows.values()
                    if row.account == account.id and not row.customers and row.at > now - timedelta(days=1)
                    and not row.reversal and not row.taken_back)
        return borne + cost <= MOST_BORNE

    def corrected(self, hold: MHold, cost: Fraction, at: datetime, *, customers: bool) -> tuple[MRow, MRow]:
        """The two rows by which a sweep's estimate is replaced by what came late: never to the customer's harm."""
        old = self.rows[hold.id]
        self.rows[hold.id] = replace(old, taken_back=True)
        charge = min(nano(cost * hold.turn.terms.factor), old.charge) if customers else 0
        return (replace(old, cost=-old.cost, charge=-old.charge, at=at, presumed=False, reversal=True),
                MRow(old.account, old.turn, nano(cost), charge, customers == old.customers, at, customers))
