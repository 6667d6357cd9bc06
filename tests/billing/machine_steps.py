"""A machine of the billing core, its first part: questions, paid steps, crashes and recovery, at a time of our own.

Two processes work on one database. What they know is in the machine's memory; a crash forgets it. Nothing here speaks
to Polar, so that thousands of sequences can be tried; `machine_core` adds Polar's word and the delivery, and
`machine_polar` is a machine with the real client and the emulator.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from sqlalchemy import delete

from chatapp.billing import admission, balances, holds, ledger, provision
from chatapp.billing.entitlements import Entitlement, SpendingRefused
from chatapp.billing.hold_rows import Bearer
from chatapp.billing.holds import InsufficientFunds, PlacedHold
from chatapp.billing.ledger import UnknownHold
from chatapp.billing.pricing import UnitPrices
from chatapp.db import Database
from chatapp.ids import new_id
from chatapp.models import OutboxMessage, Turn, UsageEvent
from chatapp.services import Services
from chatapp.settings import Settings, load
from tests.billing.conftest import PRICES, new_account
from tests.billing.machine import Books, OpenDatabase
from tests.billing.machine_model import LEASE, NANO, Account, MHold, Model, MTurn, Truth, cost_of, day_of, nano

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
STEPS = st.sampled_from([timedelta(seconds=1), timedelta(seconds=41), timedelta(seconds=61), LEASE,
                         LEASE + timedelta(seconds=1), timedelta(hours=7), timedelta(days=1), timedelta(days=9),
                         timedelta(days=32)])
LIMITS = st.sampled_from([0, 4_200_000, 10_000_001, 50_000_000, 50_000_001, NANO, 5 * NANO, None])
NUMBER = st.integers(0, 7)
"""Which of several: taken modulo how many there are."""
WHO = st.integers(0, 2)
PROCESS = st.integers(0, 1)
MOSTLY = st.sampled_from([True, True, True, False])
BEARERS: st.SearchStrategy[Bearer] = st.sampled_from(["customer", "customer", "customer", "customer", "platform"])
HOW = st.sampled_from(["exact", "estimate", "reported"])
TOKENS = st.sampled_from([0, 1, 7, 100, 997, 1000, 3001, 50_000]) | st.integers(0, 5000)
CAPS = st.sampled_from(["0", "0.0000000005", "0.00000000125", "0.004", "0.0333333333333", "0.2", "2.5", "4.999999999"])


@dataclass(frozen=True)
class Shelf:
    """The services that writing the mirror needs."""

    settings: Settings
    db: Database


@dataclass
class Batch:
    """Messages that a delivery worker has claimed."""

    messages: list[OutboxMessage]
    memory: int


def exact(value: Fraction) -> Decimal:
    """A fraction whose decimals end, as a decimal."""
    with localcontext(prec=60):
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
    assert Fraction(decimal) == value
    return decimal


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

    # ------------------------------------------------------------------------------------------------ questions

    @rule(who=WHO, process=PROCESS)
    def ask_only(self, who: int, process: int) -> None:
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
        with self.db.session() as session:
            session.add(Turn(id=turn.id, account_id=account.id, thread_id=turn.id, runner=str(process),
                             lease_until=now + timedelta(seconds=20)))
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

    # ---------------------------------------------------------------------------------------------------- steps

    @rule(who=WHO, process=PROCESS, tokens=TOKENS, bearer=BEARERS)
    def place_for_a_model(self, who: int, process: int, tokens: int, bearer: Bearer) -> None:
        self.hold_for_a_model(who, process, tokens, bearer)

    def hold_for_a_model(self, who: int, process: int, tokens: int, bearer: Bearer) -> None:
        bound = {"input_tokens": tokens, "output_tokens": tokens // 3}
        first = {"input_tokens": -(-tokens // 3)}
        self.place(who, process, cost_of(bound), bound, cost_of(first), bearer, PRICES)

    @rule(who=WHO, process=PROCESS, cap=CAPS, bearer=BEARERS)
    def place_for_a_tool(self, who: int, process: int, cap: str, bearer: Bearer) -> None:
        """A tool whose vendor reports the cost: unanswered, it is taken to have cost its cap."""
        self.place(who, process, Fraction(cap), {"searches": 1}, Fraction(nano(Fraction(cap)), NANO), bearer, None)

    def place(
        self, who: int, process: int, bound: Fraction, quantities: dict[str, int], first: Fraction, bearer: Bearer,
        prices: UnitPrices | None,
    ) -> None:
        """In a turn of the account that runs, or in a new one."""
        running = self.alive(self.model.accounts[who])
        turn = running[-1] if running else self.ask(who, process)
        if turn is None:
            return
        now, customers = self.tick(), bearer == "customer"
        amount = nano(bound * turn.terms.factor) if customers else 0
        expected = not customers or self.model.fits(turn, amount, nano(bound), now)
        try:
            placed = holds.place(
                self.db, self.may[turn.id], turn_id=turn.id, thread_id=turn.id, kind="model" if prices else "tool",
                provider="openai", name="gpt-x", prices=prices, bound_cost_usd=exact(bound),
                quantities_bound=quantities, bearer=bearer, now=now)
        except InsufficientFunds:
            assert not expected, "refused although it fits"
            return
        assert expected, "held although it does not fit"
        assert (placed.amount_nanousd, placed.cost_bound_nanousd) == (amount, nano(bound))
        hold = MHold(placed.id, turn, amount, nano(bound), first, now + LEASE, prices is None, turn.memory, customers)
        turn.spent = True
        self.model.holds[placed.id] = hold
        self.known[placed.id] = (placed, hold)

    def pick(self, number: int, *, held: bool = True) -> tuple[PlacedHold, MHold] | None:
        found = [pair for key, pair in self.known.items() if (key in self.model.holds) == held]
        return found[number % len(found)] if found else None

    @precondition(lambda self: self.known)
    @rule(number=NUMBER, tokens=TOKENS, held=MOSTLY)
    def checkpoint(self, number: int, tokens: int, held: bool) -> None:
        pair, now = self.pick(number, held=held), self.tick()
        if pair is None or pair[1].reported:
            return
        used = {"input_tokens": tokens, "output_tokens": tokens // 5}
        holds.checkpoint(self.db, pair[0], used, now)
        pair[1].estimate, pair[1].lease_until = cost_of(used), now + LEASE

    @precondition(lambda self: self.model.holds)
    @rule(number=NUMBER, tokens=TOKENS, bearer=BEARERS)
    def settle_as_measured(self, number: int, tokens: int, bearer: Bearer) -> None:
        """Below the hold, or far above it."""
        self.settle(number, tokens, 0, "exact", bearer)

    @precondition(lambda self: self.model.holds)
    @rule(number=NUMBER, tokens=TOKENS, bearer=BEARERS)
    def settle_with_an_estimate(self, number: int, tokens: int, bearer: Bearer) -> None:
        self.settle(number, tokens, 10**9, "estimate", bearer)

    @precondition(lambda self: self.model.holds)
    @rule(number=NUMBER, nanos=st.integers(0, 5 * 10**9), bearer=BEARERS)
    def settle_as_reported(self, number: int, nanos: int, bearer: Bearer) -> None:
        """By the vendor, in thousandths of a nano-dollar, so that it must be rounded."""
        self.settle(number, 997, nanos, "reported", bearer)

    @rule(who=WHO, process=PROCESS, tokens=TOKENS, used=TOKENS)
    def take_a_step(self, who: int, process: int, tokens: int, used: int) -> None:
        """From hold to ledger without a fault."""
        before = set(self.known)
        self.hold_for_a_model(who, process, tokens, "customer")
        for key in self.known.keys() - before:
            self.settle_one(*self.known[key], used, 0, "exact", "customer")

    def settle(self, number: int, tokens: int, nanos: int, how: str, bearer: Bearer) -> None:
        pair = self.pick(number)
        if pair is not None:
            self.settle_one(*pair, tokens, nanos, how, bearer)

    def settle_one(
        self, placed: PlacedHold, hold: MHold, tokens: int, nanos: int, how: str, bearer: Bearer
    ) -> None:
        now = self.tick()
        cost, event = self.really_settle(placed, hold, tokens, nanos, how, bearer, now)
        row = self.model.settled(hold, cost, exact=how != "estimate", at=now, customers=bearer == "customer")
        assert (event.cost_nanousd, event.charge_nanousd, event.exact) == (row.cost, row.charge, row.exact)

    @precondition(lambda self: self.known)
    @rule(number=NUMBER, tokens=TOKENS, nanos=st.integers(0, 5 * 10**9), how=HOW, bearer=BEARERS)
    def settle_again(self, number: int, tokens: int, nanos: int, how: str, bearer: Bearer) -> None:
        """What is settled stays, what was released is unknown, and real figures correct an estimate, once."""
        pair, now = self.pick(number, held=False), self.tick()
        if pair is None:
            return
        try:
            cost, _ = self.really_settle(pair[0], pair[1], tokens, nanos, how, bearer, now)
        except UnknownHold:
            assert pair[0].id not in self.model.rows
            return
        self.late(pair[1], cost, how != "estimate", now)

    def really_settle(
        self, placed: PlacedHold, hold: MHold, tokens: int, nanos: int, how: str, bearer: Bearer, now: datetime
    ) -> tuple[Fraction, UsageEvent]:
        used = {"input_tokens": tokens, "output_tokens": tokens % 700}
        reported = Fraction(nanos, 1000 * NANO) if how == "reported" or hold.reported else None
        event = ledger.settle(self.db, placed, used, exact=how != "estimate", status="ok", bearer=bearer, now=now,
                              cost_usd=None if reported is None else exact(reported))
        return (cost_of(used) if reported is None else reported), event

    def late(self, hold: MHold, cost: Fraction, is_exact: bool, now: datetime) -> None:
        """Real figures that come after an estimate was entered correct it, once."""
        names = [str(uuid.uuid5(uuid.UUID(hold.id), status)) for status in ("reversal", "corrected")]
        if is_exact and not self.model.rows[hold.id].exact and names[0] not in self.model.rows:
            self.model.rows.update(zip(names, self.model.corrected(hold, cost, now), strict=True))

    @precondition(lambda self: self.known)
    @rule(number=NUMBER, held=MOSTLY)
    def release(self, number: int, held: bool) -> None:
        pair = self.pick(number, held=held)
        self.tick()
        if pair is not None:
            holds.release(self.db, pair[0])
            self.model.holds.pop(pair[0].id, None)

    @precondition(lambda self: self.alive())
    @rule(number=NUMBER)
    def finish(self, number: int) -> None:
        """A turn ends, or is stopped: open steps are settled as far as they came; one that spent nothing is free."""
        turn = self.alive()[number % len(self.alive())]
        self.stop(turn)

    def stop(self, turn: MTurn) -> None:
        now = self.tick()
        for placed, hold in list(self.known.values()):
            if hold.turn is turn and placed.id in self.model.holds:
                used = {"input_tokens": 100, "output_tokens": 7}
                cost = Fraction(hold.bound, NANO) if hold.reported else cost_of(used)
                ledger.settle(self.db, placed, used, exact=False, status="stopped", now=now,
                              cost_usd=exact(cost) if hold.reported else None)
                self.model.settled(hold, cost, exact=False, at=now)
        if not turn.spent:
            admission.give_back(self.db, turn.account.id, self.may[turn.id], now)
            if turn.terms.per_day is not None:
                turn.account.asked[day_of(turn.admitted_at)] -= 1
        self.end(turn)

    # ------------------------------------------------------------------------------------- crashes and recovery

    @precondition(lambda self: self.model.turns or self.batches or self.heard)
    @rule(process=PROCESS, restarts=st.booleans())
    def crash_of(self, process: int, restarts: bool) -> None:
        self.crash(process)
        if restarts:
            self.restart()

    def crash(self, process: int) -> None:
        """Everything that the process knew is gone; what it wrote stays."""
        for turn in self.model.turns:
            turn.memory = None if turn.memory == process else turn.memory
        for key, (_, hold) in list(self.known.items()):
            if hold.memory == process:
                hold.memory = None
                del self.known[key]
        self.batches = [batch for batch in self.batches if batch.memory != process]
        self.heard = [each for each in self.heard if each[3] != process]
        for account in self.model.accounts:
            account.switch = ""

    def restart(self) -> None:
        """Turns of dead processes are taken over, and their holds settled whatever their leases say."""
        now = self.tick()
        for turn in [turn for turn in self.model.turns if turn.memory is None]:
            self.end(turn)
            mine = [hold for hold in self.model.holds.values() if hold.turn is turn]
            assert holds.sweep_turn(self.db, turn.id, now) == len(mine)
            for hold in mine:
                self.model.settled(hold, hold.estimate, exact=False, at=now)

    @precondition(lambda self: self.model.holds)
    @rule(by=st.none() | STEPS)
    def sweep_after(self, by: timedelta | None) -> None:
        self.tick(by or TICK)
        self.sweep()

    def sweep(self) -> None:
        """Steps that said nothing for too long are settled with their estimate, alive or not."""
        now = self.tick()
        dead = [hold for hold in self.model.holds.values() if hold.lease_until < now]
        assert holds.sweep(self.db, now) == len(dead)
        for hold in dead:
            self.model.settled(hold, hold.estimate, exact=False, at=now)

    @rule(by=STEPS)
    def time_passes(self, by: timedelta) -> None:
        self.tick(by)

    @rule(who=WHO, nanousd=LIMITS)
    def choose_a_limit(self, who: int, nanousd: int | None) -> None:
        account = self.model.accounts[who]
        with self.db.session() as session:
            balances.current(session, account.id, self.tick()).spend_limit_nanousd = nanousd
        account.own_limit = nanousd
