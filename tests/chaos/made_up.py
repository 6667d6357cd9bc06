"""Books that are right, made by hand, for tests that make them wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chaos.books import INPUT_USD, OUTPUT_USD, Account, Books, Charge, PolarEvent, Served

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
MARKUP = Decimal("0.20")


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def charge(number: int, **fields: Any) -> Charge:
    """A request to the model, asked at second `number`, answered a second later, of as many tokens as its number."""
    tokens = (1000 + number, 100 + number)
    cost = tokens[0] * INPUT_USD + tokens[1] * OUTPUT_USD
    made = Charge(
        id=f"event-{number}", account_id="account-1", turn_id=f"turn-{number}", thread_id=f"thread-{number}",
        name="emulated-model", is_model=True, billable=True, exact=True, status="ok", tokens=tokens, cost_usd=cost,
        markup=MARKUP, charge_nanousd=int(cost * (1 + MARKUP) * 10**9), overrun_nanousd=0, placed_at=at(number),
        settled_at=at(number + 1))
    return replace(made, **fields)


def served(number: int, **fields: Any) -> Served:
    """What the model's log says of the request that `charge` records."""
    recorded = charge(number)
    made = Served(f"request-{number}", "llm", at(number + 0.1), complete=True, tokens=recorded.tokens,
                  cost_usd=recorded.cost_usd, turn_id=recorded.turn_id)
    return replace(made, **fields)


def event(recorded: Charge, **fields: Any) -> PolarEvent:
    return replace(PolarEvent(recorded.id, "usage", recorded.account_id, recorded.charge_nanousd), **fields)


def books(*charges: Charge, **fields: Any) -> Books:
    """Right books of these charges, or of three."""
    charges = charges or (charge(1), charge(2), charge(3))
    total = sum(one.charge_nanousd for one in charges)
    made = Books(
        acknowledged=tuple(one.thread_id for one in charges), threads=frozenset(one.thread_id for one in charges),
        answers={"done": len(charges)}, shown_nanousd={one.turn_id: one.charge_nanousd for one in charges},
        charges=charges, delivered=len(charges), waiting=0, parked=0, holds=0,
        events=tuple(event(one) for one in charges),
        served=tuple(served(int(one.id.removeprefix("event-"))) for one in charges),
        accounts=(Account("account-1", total, 0, total),), kills=(at(2.5),))
    return replace(made, **fields)
