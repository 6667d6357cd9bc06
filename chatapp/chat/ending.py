"""How a finished answer is summed up for the page: its state and its price in words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal

from chatapp.billing.catalog import PLANS, VISITOR
from chatapp.billing.money import NANO_PER_USD, format_usd, price
from chatapp.models import Message


@dataclass(frozen=True)
class Ending:
    """State and price of an answer. `price` is empty where nothing was spent."""

    status: str
    error: str
    price: str
    price_note: str

    def as_operation(self) -> str:
        """The stream's last operation, in JSON."""
        return json.dumps({"t": "done", **asdict(self)}, ensure_ascii=False, separators=(",", ":"))


def ending_of(message: Message) -> Ending:
    """Sum up a saved answer.

    A billed answer shows its charge. An included one shows what it would have cost, and that the plan covers it.
    """
    plan = PLANS.get(message.plan)
    if message.cost_nanousd == 0 and message.charge_nanousd == 0:
        return Ending(message.status, message.error, "", "")
    notes = [] if message.exact else ["estimate"]
    shown = message.charge_nanousd
    if plan is not None and not plan.billable:
        notes.insert(0, "free for visitors" if plan is VISITOR else f"included in {plan.name}")
        worth = price(Decimal(message.cost_nanousd) / NANO_PER_USD, markup=plan.markup, billable=True)
        shown = worth.charge_nanousd
    return Ending(message.status, message.error, format_usd(shown), ", ".join(notes))
