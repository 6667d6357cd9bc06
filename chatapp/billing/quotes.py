"""What the next question will cost, told before it is asked: at most, and usually.

Only read, and from a bounded number of rows, so that it takes the same time for an account's first question and for
its millionth; it waits for no writer, and no one waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median_low
from typing import Any

from sqlmodel import Session, col, select

from chatapp.billing import admission, balances, entitlements, subscriptions
from chatapp.billing.catalog import Plan
from chatapp.billing.entitlements import AccountUsage, SpendingRefused, spend_limit_nanousd
from chatapp.billing.money import format_usd, price, usd
from chatapp.db import Database
from chatapp.models import Balance, Message, UsageEvent
from chatapp.settings import Settings

SIMILAR = 20
"""Turns are similar if the same model answered them; so many of the latest are looked at."""
FEWEST = 3
"""Of fewer turns nobody can say what is usual."""
STEPS = 300
"""Similar turns are looked for among the account's latest ledger rows, so many of them: some 60 to 100 turns."""
ROUNDING_NANOUSD = 1_000
"""Each step of a turn is rounded by itself, by 1.1 nano-dollars at most; this is enough for 900 steps."""


@dataclass(frozen=True)
class Quote:
    """The price of a question that has not been asked, in nano-dollars.

    Where the plan includes usage, nothing is charged: the amounts are then what the question would cost.

    Attributes:
        model: what will answer.
        billable: whether it is charged.
        at_most_nanousd: no question asked now comes to more; 0 where none may be asked, None where the operator
            switched limits off.
        usual_nanousd: the median of the similar turns, each at the present markup; None if there are too few.
        similar: how many turns that is the median of.
    """

    model: str
    billable: bool
    at_most_nanousd: int | None
    usual_nanousd: int | None
    similar: int

    def as_json(self) -> dict[str, Any]:
        """All of it, the amounts also as text."""
        return {
            "model": self.model, "billable": self.billable, "similar": self.similar,
            "at_most_nanousd": self.at_most_nanousd, "at_most": _text(self.at_most_nanousd),
            "usual_nanousd": self.usual_nanousd, "usual": _text(self.usual_nanousd),
        }


def quote(db: Database, settings: Settings, account_id: str, now: datetime) -> Quote:
    """Quote the account's next question."""
    with db.reading() as session:
        plan = subscriptions.plan_in(session, account_id, settings, now)
        costs = _similar_costs(session, account_id, settings.model)
        usual = _price(median_low(costs), plan) if len(costs) >= FEWEST else None
        return Quote(settings.model, plan.billable, _at_most(session, account_id, plan, now), usual, len(costs))


def _similar_costs(session: Session, account_id: str, model: str) -> Sequence[int]:
    """The costs of the account's latest whole answers by this model."""
    steps = session.exec(select(UsageEvent.turn_id).where(UsageEvent.account_id == account_id)
                         .order_by(col(UsageEvent.occurred_at).desc()).limit(STEPS)).all()
    # Nothing but the ids is asked for: any other condition may lead a database to another, larger index.
    turns = session.exec(select(Message.id, Message.model, Message.status, Message.cost_nanousd)
                         .where(col(Message.id).in_(set(steps)))).all()
    costs = {turn: cost for turn, by, status, cost in turns if by == model and status == "done"}
    return [costs[turn] for turn in dict.fromkeys(steps) if turn in costs][:SIMILAR]


def _at_most(session: Session, account_id: str, plan: Plan, now: datetime) -> int | None:
    """The budget of one question, lowered to what is left of the account's limits."""
    if not plan.limited:
        return None
    account = _usage(session, account_id, plan, now)
    try:
        budget_usd = entitlements.check(plan, account, now).cost_budget_usd
    except SpendingRefused:
        return 0
    most = price(budget_usd, markup=plan.markup, billable=True).charge_nanousd + ROUNDING_NANOUSD
    limit = spend_limit_nanousd(plan, account.spend_limit_nanousd)
    return most if limit is None else min(most, limit - account.charged_nanousd - account.held_nanousd)


def _usage(session: Session, account_id: str, plan: Plan, now: datetime) -> AccountUsage:
    """As `admission` knows the account, without its lock: a step that ends at this moment may be missing."""
    spent, balance = balances.spent(session, account_id, now), session.get(Balance, account_id)
    return AccountUsage(
        account_id=account_id, period=balances.period_of(session, account_id, now),
        used=admission.quota_used(session, account_id, plan, now),
        charged_nanousd=spent.charge_nanousd, held_nanousd=balance.held_nanousd if balance else 0,
        cost_nanousd=spent.cost_nanousd, held_cost_nanousd=balance.held_cost_nanousd if balance else 0,
        spend_limit_nanousd=balance.spend_limit_nanousd if balance else None,
        payment_due=subscriptions.payment_due(session, account_id),
        switching_until=balance.switching_until if balance else None,
    )


def _price(cost_nanousd: int, plan: Plan) -> int:
    return price(usd(cost_nanousd), markup=plan.markup, billable=True).charge_nanousd


def _text(nanousd: int | None) -> str | None:
    return None if nanousd is None else format_usd(nanousd)
