"""The verdict before a question: may this account ask, and what may the answer cost?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from chatapp.billing import periods
from chatapp.billing.catalog import NO_LIMIT_USD, Plan, Quota
from chatapp.billing.money import cost_that_charges_at_most, floor_nanousd, format_usd, usd

PLAN_CHANGING = "Your plan is being changed. Try again in a moment."


class SpendingRefused(Exception):
    """The account may not spend now.

    Attributes:
        text: what the person is told.
        resets_at: when it will be possible again by itself; None if it will not.
        next_step: what they can do: `sign_up` | `choose_plan` | `raise_limit` | `update_payment` | `wait`.
    """

    def __init__(self, text: str, *, resets_at: datetime | None, next_step: str) -> None:
        super().__init__(text)
        self.text = text
        self.resets_at = resets_at
        self.next_step = next_step


class QuotaReached(SpendingRefused):
    """The plan's questions of this period are used up."""


class AllowanceExhausted(SpendingRefused):
    """The cost that the plan includes in this period is used up."""


class SpendLimitReached(SpendingRefused):
    """The customer's own limit of this period is reached."""


class PaymentRequired(SpendingRefused):
    """A payment failed and is due."""


class PlanChanging(SpendingRefused):
    """The plan is being switched at this moment."""


@dataclass(frozen=True)
class AccountUsage:
    """What is known of an account in its current period.

    Attributes:
        used: quota name → count in the quota's current window.
        charged_nanousd, held_nanousd: billed so far, and set aside for steps under way.
        cost_nanousd, held_cost_nanousd: the same in cost.
        spend_limit_nanousd: the customer's own choice; None for the plan's.
        period: what the sums are over.
        payment_due: whether the last payment failed.
        switching_until: until when a switch of plan keeps the account from spending.
    """

    account_id: str
    period: periods.Period
    used: Mapping[str, int] = field(default_factory=dict)
    charged_nanousd: int = 0
    held_nanousd: int = 0
    cost_nanousd: int = 0
    held_cost_nanousd: int = 0
    spend_limit_nanousd: int | None = None
    payment_due: bool = False
    switching_until: datetime | None = None


@dataclass(frozen=True)
class Entitlement:
    """"May, up to X": what one turn is admitted with.

    Attributes:
        cost_budget_usd: the most that the turn may cost.
        limited: False where the operator switched limits off; nothing is refused then.
        counted: the quotas that this question was counted in, with their windows' starts.
        admitted_at: when; a switch of plan after that ends it. None for a step that is admitted as it is held.
    """

    account_id: str
    plan: Plan
    cost_budget_usd: Decimal
    limited: bool
    counted: tuple[tuple[str, datetime], ...] = ()
    admitted_at: datetime | None = None


def check(plan: Plan, account: AccountUsage, now: datetime) -> Entitlement:
    """The entitlement of one question.

    Raises:
        PlanChanging, PaymentRequired, QuotaReached, AllowanceExhausted, SpendLimitReached: with what the person is
            told.
    """
    if account.switching_until is not None and account.switching_until > now:
        raise PlanChanging(PLAN_CHANGING, resets_at=account.switching_until, next_step="wait")
    if account.payment_due and plan.limited:
        raise PaymentRequired("Your last payment did not go through. Update your payment method to go on asking.",
                              resets_at=None, next_step="update_payment")
    for quota in plan.quotas:
        if account.used.get(quota.name, 0) >= quota.limit:
            raise quota_reached(plan, quota, now)
    budget = min(floor_nanousd(plan.max_turn_cost_usd), *_remaining_costs_nanousd(plan, account))
    return Entitlement(
        account.account_id, plan, usd(budget), plan.limited,
        counted=tuple((quota.name, quota_window(quota, now).start) for quota in plan.quotas), admitted_at=now,
    )


def quota_reached(plan: Plan, quota: Quota, now: datetime) -> QuotaReached:
    """The refusal of a question above the quota."""
    upgrade = "Sign up for more." if plan.key == "visitor" else "Choose a plan to go on now."
    return QuotaReached(
        f"You have asked your {quota.limit} {quota.name} of today. {upgrade}",
        resets_at=quota_window(quota, now).end, next_step="sign_up" if plan.key == "visitor" else "choose_plan",
    )


def quota_window(quota: Quota, now: datetime) -> periods.Period:
    """The window that a question asked now is counted in."""
    return {"day": periods.day}[quota.per](now)


def spend_limit_nanousd(plan: Plan, own_nanousd: int | None) -> int | None:
    """What the account may be charged per period: the customer's own choice, or else the plan's; None if unlimited."""
    if not plan.billable or not plan.limited:
        return None
    if own_nanousd is not None:
        return own_nanousd
    return None if plan.spend_limit_usd is None else floor_nanousd(plan.spend_limit_usd)


def _remaining_costs_nanousd(plan: Plan, account: AccountUsage) -> list[int]:
    remaining = [floor_nanousd(NO_LIMIT_USD)]
    if plan.allowance_usd is not None:
        left = floor_nanousd(plan.allowance_usd) - account.cost_nanousd - account.held_cost_nanousd
        if left <= 0:
            raise AllowanceExhausted("What your plan includes in this period is used up.",
                                     resets_at=account.period.end, next_step="choose_plan")
        remaining.append(left)
    limit = spend_limit_nanousd(plan, account.spend_limit_nanousd)
    if limit is not None:
        left = limit - account.charged_nanousd - account.held_nanousd
        if left <= 0:
            raise SpendLimitReached(f"Your spending limit of {format_usd(limit)} for this period is reached.",
                                    resets_at=account.period.end, next_step="raise_limit")
        remaining.append(cost_that_charges_at_most(left, markup=plan.markup))
    return remaining
