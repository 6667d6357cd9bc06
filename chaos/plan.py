"""What happens in each life of the app, from its start to its kill: drawn from the seed alone, to be replayed.

Only the choices are replayed: when which answer is at which step depends on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

Moment: TypeAlias = Literal["load", "start-up", "recovery", "delivery"]

MOMENTS: tuple[Moment, ...] = ("load", "start-up", "recovery", "delivery")
MOMENT_WEIGHTS = (50, 20, 15, 15)
FAULTS_AT_ONCE = (20, 40, 30, 10)
"""How often, in percent, a life has none, one, two, three."""
PACES = (100, 300, 1000)
"""Tokens per second of the emulated model."""
NEWCOMER_EVERY = 20
"""So often, in lives, somebody signs up and pays in the middle of it all."""


@dataclass(frozen=True)
class Fault:
    """A vendor's fault, as `POST /_faults` takes it.

    Attributes:
        path: a part of the paths that it applies to; empty for all.
        times: so many requests; None until it is switched off.
        seconds: how long `slow` and `webhook_late` wait.
    """

    vendor: str
    kind: str
    path: str = ""
    times: int | None = None
    seconds: float = 3.0

    def __str__(self) -> str:
        return f"{self.vendor} {self.kind}"


@dataclass(frozen=True)
class Spell:
    """A time during which something is wrong, in seconds after the app's start."""

    after_seconds: float
    seconds: float


@dataclass(frozen=True)
class Life:
    """One life of the app.

    Attributes:
        number: from 1.
        moment: what the kill shall hit: answers under way, the app's start, the recovery of answers of an earlier life,
            or a delivery to Polar.
        share: when it comes, from 0 to 1: see `run`.
        faults: the vendors' faults, until those of the next life take their place.
        faults_late: whether they come only once the app answers.
        locked: somebody else holds the database's write lock; for its time, whatever is killed meanwhile.
        full: the disk is full; likewise.
        newcomer: somebody signs up and buys.
    """

    number: int
    moment: Moment
    share: float
    pace: int
    faults: tuple[Fault, ...]
    faults_late: bool
    locked: Spell | None
    full: Spell | None
    newcomer: bool

    def __str__(self) -> str:
        wrong = [str(fault) for fault in self.faults]
        wrong += [f"locked {self.locked.seconds:.0f} s"] if self.locked else []
        wrong += [f"disk full {self.full.seconds:.0f} s"] if self.full else []
        return ", ".join(wrong) or "all well"


def life(seed: int, number: int) -> Life:
    """The life of that number in the run with that seed."""
    chance = Random(f"{seed}:{number}")  # noqa: S311 - no secret: it has to be repeatable
    count = chance.choices(range(len(FAULTS_AT_ONCE)), FAULTS_AT_ONCE)[0]
    faults = {(fault.vendor, fault.kind): fault for fault in (_fault(chance) for _ in range(count))}
    return Life(
        number=number, moment=chance.choices(MOMENTS, MOMENT_WEIGHTS)[0], share=chance.random(),
        pace=chance.choice(PACES), faults=tuple(faults.values()),
        faults_late=chance.random() < 0.3, locked=_spell(chance, 0.12, 18), full=_spell(chance, 0.12, 8),
        newcomer=number % NEWCOMER_EVERY == 0,
    )


def _fault(chance: Random) -> Fault:
    """One fault. What would stop all answers is limited to some requests, so that there is something to kill."""
    few = chance.choice((1, 2, 5, 10))
    long = chance.choice((None, None, 3))
    slow = chance.uniform(0.5, 5)
    return chance.choice((
        Fault("llm", "429", times=few), Fault("llm", "500", times=few), Fault("llm", "down", times=few),
        Fault("llm", "lost_answer", times=few), Fault("llm", "slow", times=few, seconds=slow),
        Fault("valyu", "lost_answer", times=few), Fault("valyu", "500", times=few), Fault("valyu", "429", times=few),
        Fault("valyu", "slow", times=few, seconds=slow), Fault("valyu", "down", times=few),
        Fault("daytona", "lost_answer", "code-run", few), Fault("daytona", "500", times=few),
        Fault("daytona", "slow", "code-run", few, slow),
        Fault("polar", "lost_answer", "events/ingest", long), Fault("polar", "lost_answer", "events/ingest", long),
        Fault("polar", "429", "events/ingest", long), Fault("polar", "500", times=long), Fault("polar", "down"),
        Fault("polar", "slow", "events/ingest", long, slow), Fault("polar", "webhook_twice"),
        Fault("polar", "webhook_late", seconds=slow), Fault("polar", "webhook_forged", times=few),
        Fault("resend", "lost_answer", times=few), Fault("resend", "500", times=few),
        Fault("supabase", "lost_answer", times=few), Fault("supabase", "500", times=few),
    ))


def _spell(chance: Random, probability: float, longest_seconds: float) -> Spell | None:
    happens, spell = chance.random() < probability, Spell(chance.uniform(0, 5), chance.uniform(1, longest_seconds))
    return spell if happens else None
