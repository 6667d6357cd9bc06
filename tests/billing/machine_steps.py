"""A machine of the billing core, its first part: questions, paid steps, crashes and recovery, at a time of our own.

Two processes work on one database. What they know is in the machine's memory; a crash forgets it. Nothing here speaks
to Polar, so that thousands of sequences can be tried.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import delete

from chatapp.billing import admission, balances, holds, provision
from chatapp.billing.entitlements import Entitlement, SpendingRefused
from chatapp.billing.hold_rows import Bearer, hold_of
from chatapp.billing.holds import InsufficientFunds, PlacedHold
from chatapp.billing.outbox import Claimed
from chatapp.billing.pricing import UnitPrices
from chatapp.db import Database
from chatapp.ids import new_id
from chatapp.models import Turn
from chatapp.services import Services
from chatapp.settings import Settings, load
from tests.billing.conftest import PRICES, new_account
from tests.billing.machine import Books, OpenDatabase
from tests.billing.machine_model import LEASE, NANO, Account, MHold, Model, MTurn, Truth, cost_of, day_of, exact, nano

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
STEPS = st.sampled_from([timedelta(seconds=1), timedelta(seconds=41), timedelta(seconds=61), timedelta(minutes=4),
                         LEASE, LEASE + timedelta(seconds=1), timedelta(hours=7), timedelta(days=1), timedelta(days=9),
                         timedelta(days=32)])
LIMITS = st.sampled_from([0, 4_200_000, 10_000_001, 50_000_000, 50_000_001, NANO, 5 * NANO, None])
COUNT = st.integers(1, 3)
NUMBER = st.integers(0, 7)
"""Which of several: taken modulo how many there are."""
WHO = st.integers(0, 2)
PROCESS = st.integers(0, 1)
MOSTLY = st.sampled_from([True, True, True, False])
BEARERS: st.SearchStrategy[Bearer] = st.sampled_from(["customer", "customer", "customer", "customer", "platform"])
HOW = st.sampled_from(["exact", "estimate", "reported"])
TOKENS = st.sampled_from([0, 1, 7, 100, 997, 1000, 1000, 3001, 50_000]) | st.integers(0, 5000)
CAPS = st.sampled_from(["0", "0.0000000005", "0.00000000125", "0.004", "0.0333333333333", "0.2", "2.5"])


@dataclass(frozen=True)
class Shelf:
    """The services that writing the mirror needs."""

    settings: Settings
    db: Database


@dataclass
class Batch:
    """Messages that a delivery worker has claimed."""

    messages: list[Claimed]
    memory: int


@dataclass(frozen=True)
class Order:
    """A step that is about to be held: what it can cost, and who pays."""

    turn: MTurn
    bearer: Bearer
    prices: UnitPrices | None
    bound: Fraction
    quantities: dict[str, int]
    at: datetime

    @property
    def customers(self) -> bool:
        return self.bearer == "customer"

    @property
    def amount(self) -> int:
        """What is set aside, in nano-dollars."""
        return nano(self.bound * self.turn.terms.factor) if self.customers else 0


class StepsMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, open_database: OpenDatabase) -> None:
        super().__init__()
        self.db = open_database()
        self.settings = load({"LIMITS": "on"})
        self.services = cast(Services, Shelf(self.settings, self.db))
        self.books = Books(self.db)
        self.model = Model()
        self.now = START
        self.known: dict[str, tuple[PlacedHold, MHold]] = {}
        """Holds that some process still has in its memory, settled or not."""
        self.may: dict[str, Entitlement] = {}
        self.batches: list[Batch] = []
        self.heard: list[tuple[Account, datetime, Truth | None, int]] = []
        self.polar: dict[str, dict[str, Any]] = {}
        self.delivered: set[str] = set()

    def open_accounts(self) -> None:
        for key in ("meter:usage", "product:pay_per_use", "product:unlimited"):
            provision._record(self.services, key, key)
        self.model.accounts = [Account(new_account(self.db)) for _ in range(3)]

    def tick(self, by: timedelta = TICK) -> datetime:
        self.now += by
        return self.now

    @rule(who=WHO, process=PROCESS, times=st.sampled_from([1, 1, 6]))
    def ask_only(self, who: int, process: int, times: int) -> None:
        """Admitted questions whose answers have not begun: of them a switch of plan knows nothing."""
        for _ in range(times):
            self.ask(who, process)

    def ask(self, who: int, process: int) -> MTurn | None:
        """A question is admitted, or refused for the reason that the model names."""
        account, now = self.model.accounts[who], self.tick()
        expected = self.model.refusal(account, now)
        terms, budget = account.terms(now), 0 if expected else self.model.budget(account, now)
        outcome = ""
        try:
            entitlement = admission.admit(self.db, self.settings, account.id, now)
        except SpendingRefused as refused:
            outcome = type(refused).__name__
        assert outcome == expected
        if outcome:
            return None
        assert entitlement.plan.key == terms.name
        assert entitlement.cost_budget_usd * NANO == budget
        turn = MTurn(new_id(), account, terms, budget, now, process)
        if terms.per_day is not None:
            account.asked[day_of(now)] = account.asked.get(day_of(now), 0) + 1
        self.model.turns.append(turn)
        self.may[turn.id] = entitlement
        return turn

    def alive(self, account: Account | None = None) -> list[MTurn]:
        return [turn for turn in self.model.turns
                if turn.memory is not None and account in (None, turn.account)]

    def end(self, turn: MTurn) -> None:
        with self.db.session() as session:
            session.execute(delete(Turn).where(Turn.id == turn.id))  # type: ignore[arg-type]  # typed as bool
        self.model.turns.remove(turn)

    @rule(who=WHO, process=PROCESS, tokens=TOKENS, bearer=BEARERS, count=COUNT)
    def place_for_a_model(self, who: int, process: int, tokens: int, bearer: Bearer, count: int) -> None:
        for _ in range(count):
            self.hold_for_a_model(who, process, tokens, bearer)

    def hold_for_a_model(self, who: int, process: int, tokens: int, bearer: Bearer) -> str | None:
        """The new hold's id, if there is one."""
        bound = {"input_tokens": tokens, "output_tokens": tokens // 3}
        turn = self.turn_of(who, process)
        if turn is None:
            return None
        return self.place(Order(turn, bearer, PRICES, cost_of(bound), bound, self.tick()),
                          cost_of({"input_tokens": -(-tokens // 3)}))

    @rule(who=WHO, process=PROCESS, cap=CAPS, bearer=BEARERS)
    def place_for_a_tool(self, who: int, process: int, cap: str, bearer: Bearer) -> None:
        """A tool whose vendor reports the cost: unanswered, it has cost its cap."""
        turn = self.turn_of(who, process)
        if turn is not None:
            self.place(Order(turn, bearer, None, Fraction(cap), {"searches": 1}, self.tick()),
                       Fraction(nano(Fraction(cap)), NANO))

    def turn_of(self, who: int, process: int) -> MTurn | None:
        """A turn of the account that runs, or a new one; None if the question is refused."""
        running = self.alive(self.model.accounts[who])
        turn = running[-1] if running else self.ask(who, process)
        if turn is not None and not turn.begun:
            turn.begun = True
            with self.db.session() as session:
                session.add(Turn(id=turn.id, account_id=turn.account.id, thread_id=turn.id, runner=str(process),
                                 lease_until=self.now))
        return turn

    def place(self, order: Order, first: Fraction) -> str | None:
        expected = not order.customers or self.model.fits(order.turn, order.amount, nano(order.bound), order.at)
        placed = self.try_to_place(order)
        assert (placed is not None) == expected, "held although it does not fit, or refused although it does"
        if placed is None:
            return None
        self.note(placed, order, first)
        return placed.id

    def try_to_place(self, order: Order) -> PlacedHold | None:
        turn = order.turn
        try:
            return holds.place(
                self.db, self.may[turn.id], turn_id=turn.id, thread_id=turn.id,
                kind="model" if order.prices else "tool", provider="openai", name="gpt-x", prices=order.prices,
                bound_cost_usd=exact(order.bound), quantities_bound=order.quantities, bearer=order.bearer,
                now=order.at)
        except InsufficientFunds:
            return None

    def note(self, placed: PlacedHold, order: Order, first: Fraction) -> None:
        assert (placed.amount_nanousd, placed.cost_bound_nanousd) == (order.amount, nano(order.bound))
        hold = MHold(placed.id, order.turn, order.amount, nano(order.bound), first, order.at + LEASE,
                     order.prices is None, order.turn.memory, order.customers)
        order.turn.spent = True
        self.model.holds[placed.id] = hold
        self.known[placed.id] = (placed, hold)

    @rule(who=WHO, nanousd=LIMITS)
    def choose_a_limit(self, who: int, nanousd: int | None) -> None:
        self.limit(self.model.accounts[who], nanousd)

    def limit(self, account: Account, nanousd: int | None) -> None:
        """The customer's own spend limit; None for the plan's."""
        with self.db.session() as session:
            balances.current(session, account.id, self.tick()).spend_limit_nanousd = nanousd
        account.own_limit = nanousd

    @rule(who=WHO, process=PROCESS, cap=CAPS, count=st.integers(2, 4), room=st.none() | st.integers(0, 3))
    def place_at_once(self, who: int, process: int, cap: str, count: int, room: int | None) -> None:
        """Parallel steps of one turn: as many are held as fit, whichever they are; `room` for how many, if given."""
        turn = self.turn_of(who, process)
        if turn is None:
            return
        if room is not None:
            committed = self.model.committed(turn.account, self.now)
            self.limit(turn.account, committed + room * nano(Fraction(cap) * turn.terms.factor))
        now, first = self.tick(), Fraction(nano(Fraction(cap)), NANO)
        order = Order(turn, "customer", None, Fraction(cap), {"searches": 1}, now)
        before = set(self.books.read().holds)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: self.try_to_place(order), range(count)))
        new = [hold for key, hold in self.books.read().holds.items() if key not in before]
        for row in new:
            assert self.model.fits(turn, order.amount, nano(order.bound), now), "held although it does not fit"
            self.note(hold_of(row), order, first)
        assert len(new) == count or not self.model.fits(turn, order.amount, nano(order.bound), now)

    def pick(self, number: int, *, held: bool = True) -> tuple[PlacedHold, MHold] | None:
        found = [pair for key, pair in self.known.items() if (key in self.model.holds) == held]
        return found[number % len(found)] if found else None
