"""The machine's second part: how steps end, with their process or without it; and time that passes."""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chatapp.billing import admission, holds, ledger
from chatapp.billing.hold_rows import Bearer
from chatapp.billing.holds import PlacedHold
from chatapp.billing.ledger import UnknownHold
from chatapp.models import UsageEvent
from tests.billing.machine_model import LEASE, NANO, MHold, MTurn, cost_of, day_of, exact, nano
from tests.billing.machine_steps import (
    BEARERS,
    COUNT,
    HOW,
    MOSTLY,
    NUMBER,
    PROCESS,
    STEPS,
    TICK,
    TOKENS,
    WHO,
    StepsMachine,
)


class EndsMachine(StepsMachine):
    """Settlements of every kind, crashes, sweeps, restarts, and time."""

    @precondition(lambda self: self.known)
    @rule(number=NUMBER, tokens=TOKENS, held=MOSTLY)
    def checkpoint(self, number: int, tokens: int, held: bool) -> None:
        pair, now = self.pick(number, held=held), self.tick()
        if pair is None or pair[1].reported:
            return
        used = {"input_tokens": tokens, "output_tokens": tokens // 5}
        holds.checkpoint(self.db, pair[0], used, now)
        pair[1].estimate, pair[1].lease_until, pair[1].answering = cost_of(used), now + LEASE, tokens >= 5

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

    @rule(who=WHO, process=PROCESS, tokens=TOKENS, used=TOKENS, count=COUNT)
    def take_steps(self, who: int, process: int, tokens: int, used: int, count: int) -> None:
        """From hold to ledger without a fault."""
        for _ in range(count):
            placed = self.hold_for_a_model(who, process, tokens, "customer")
            if placed is not None:
                self.settle_one(*self.known[placed], used, 0, "exact", "customer")

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
        self.late(pair[1], cost, now, is_exact=how != "estimate", bearer=bearer)

    @precondition(lambda self: self.model.holds)
    @rule(number=NUMBER, tokens=TOKENS, times=st.integers(1, 2))
    def come_back_late(self, number: int, tokens: int, times: int) -> None:
        """A step that was only slow is taken for dead; then it settles, perhaps twice."""
        pair = self.pick(number)
        self.tick(LEASE + TICK)
        self.sweep()
        for _ in range(times if pair else 0):
            assert pair is not None
            now = self.tick()
            cost, _ = self.really_settle(*pair, tokens, 10**9, "exact", "customer", now)
            self.late(pair[1], cost, now, is_exact=True, bearer="customer")

    def really_settle(
        self, placed: PlacedHold, hold: MHold, tokens: int, nanos: int, how: str, bearer: Bearer, now: datetime
    ) -> tuple[Fraction, UsageEvent]:
        used = {"input_tokens": tokens, "output_tokens": tokens % 700}
        reported = Fraction(nanos, 1000 * NANO) if how == "reported" or hold.reported else None
        event = ledger.settle(self.db, placed, used, exact=how != "estimate", status="ok", bearer=bearer, now=now,
                              cost_usd=None if reported is None else exact(reported))
        return (cost_of(used) if reported is None else reported), event

    def late(self, hold: MHold, cost: Fraction, at: datetime, *, is_exact: bool, bearer: Bearer) -> None:
        """What comes after a sweep's estimate corrects it once, if it is the real figure or another one pays."""
        row = self.model.rows[hold.id]
        cost = cost if is_exact else min(cost, Fraction(hold.bound, NANO))
        customers = row.customers and (
            bearer == "customer" or not self.model.bears(hold.turn.account, nano(cost), at))
        names = [str(uuid.uuid5(uuid.UUID(hold.id), status)) for status in ("reversal", "corrected")]
        if row.presumed and names[0] not in self.model.rows and (is_exact or customers != row.customers):
            self.model.rows.update(zip(names, self.model.corrected(hold, cost, at, customers=customers), strict=True))

    @precondition(lambda self: self.model.holds)
    @rule(number=NUMBER, tokens=TOKENS, released=st.booleans())
    def end_at_once(self, number: int, tokens: int, released: bool) -> None:
        """Real figures, an estimate and perhaps a release of one step race: one of them wins."""
        pair, now = self.pick(number), self.tick()
        if pair is None or pair[1].reported:
            return
        placed, hold = pair
        real = {"input_tokens": tokens, "output_tokens": 3}

        def settle(is_exact: bool) -> None:
            try:
                ledger.settle(self.db, placed, real if is_exact else {"input_tokens": 5}, exact=is_exact,
                              status="ok", now=now)
            except UnknownHold:
                assert released, "an open hold is unknown"

        with ThreadPoolExecutor(3) as pool:
            racing: list[Future[None]] = [pool.submit(settle, True), pool.submit(settle, False)]
            racing += [pool.submit(holds.release, self.db, placed, now)] if released else []
            for each in racing:
                each.result()
        entered = self.books.read().rows.get(placed.id)
        if entered is None:
            assert released, "lost"
            del self.model.holds[placed.id]
        elif entered.exact:
            self.model.settled(hold, cost_of(real), exact=True, at=now)
        else:
            self.model.settled(hold, cost_of({"input_tokens": 5}), exact=False, at=now)

    @precondition(lambda self: self.known)
    @rule(number=NUMBER, held=MOSTLY)
    def release(self, number: int, held: bool) -> None:
        """A step that cost nothing; after a sweep its estimate is taken back."""
        pair, now = self.pick(number, held=held), self.tick()
        if pair is not None:
            holds.release(self.db, pair[0], now)
            if self.model.holds.pop(pair[0].id, None) is None and pair[0].id in self.model.rows:
                self.late(pair[1], Fraction(0), now, is_exact=True, bearer="customer")

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
            admission.give_back(self.db, self.may[turn.id])
            if turn.terms.per_day is not None:
                turn.account.asked[day_of(turn.admitted_at)] -= 1
        self.end(turn)

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
            mine = sorted((hold for hold in self.model.holds.values() if hold.turn is turn), key=lambda hold: hold.id)
            assert holds.sweep_turn(self.db, turn.id, now) == len(mine)
            self.model.swept(mine, now)

    @precondition(lambda self: self.model.holds)
    @rule(by=st.sampled_from([TICK, LEASE - timedelta(minutes=1), LEASE + TICK]))
    def sweep_after(self, by: timedelta) -> None:
        """Before a lease has run out, or after."""
        self.tick(by)
        self.sweep()

    def sweep(self) -> None:
        """Steps that said nothing for too long are settled with their estimate, alive or not."""
        now = self.tick()
        dead = sorted((hold for hold in self.model.holds.values() if hold.lease_until < now),
                      key=lambda hold: (hold.lease_until, hold.id))
        assert holds.sweep(self.db, now) == len(dead)
        self.model.swept(dead, now)

    @rule(by=STEPS)
    def time_passes(self, by: timedelta) -> None:
        self.tick(by)
