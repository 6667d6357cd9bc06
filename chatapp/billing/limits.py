"""The spend limit that a customer chooses for each period of their subscription."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from chatapp.billing import balances, subscriptions
from chatapp.billing.money import floor_nanousd, format_limit
from chatapp.db import Database
from chatapp.settings import Settings

LEAST_USD = Decimal(1)
_AMOUNT = re.compile(r"\$? ?([0-9]{1,3}(,[0-9]{3})+|[0-9]{1,9})(\.[0-9]{1,2})?", re.ASCII)


class LimitRefused(Exception):
    """The limit stays as it was.

    Attributes:
        text: what the person is told.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def choose(db: Database, settings: Settings, account_id: str, typed: object, now: datetime) -> int:
    """Set the account's own spend limit; it holds at once, for the present period and all that follow.

    A limit below what is spent already takes nothing back: it refuses the next question.

    Args:
        db: the database.
        settings: for the most that the operator allows.
        account_id: of the session.
        typed: dollars as people write them: `50`, `49.50`, `$1,000`.
        now: the time.

    Returns:
        The limit in nano-dollars.

    Raises:
        LimitRefused: it is no such amount, too small or too large, or the plan has no spend limit.
    """
    with db.session() as session:
        plan = subscriptions.plan_in(session, account_id, settings, now)
        if not plan.billable or plan.spend_limit_usd is None:
            raise LimitRefused("Your plan has no spending limit.")
        limit = _amount(typed, most_usd=settings.spend_limit_max_usd)
        balances.current(session, account_id, now).spend_limit_nanousd = limit
    return limit


def _amount(typed: object, *, most_usd: Decimal) -> int:
    text = typed.strip() if isinstance(typed, str) else ""
    amount = Decimal(re.sub(r"[$, ]", "", text)) if _AMOUNT.fullmatch(text) else Decimal(0)
    if not LEAST_USD <= amount <= most_usd:
        least, most = (format_limit(floor_nanousd(usd)) for usd in (LEAST_USD, most_usd))
        raise LimitRefused(f"Write an amount from {least} to {most}, with a point before the cents.")
    return floor_nanousd(amount)
