"""What an account's owner is shown about plan and spending."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chatapp.billing import admission, balances, subscriptions
from chatapp.billing.entitlements import quota_window, spend_limit_nanousd
from chatapp.billing.money import format_usd
from chatapp.db import Database
from chatapp.models import Balance, Subscription
from chatapp.settings import Settings


def status(db: Database, settings: Settings, account_id: str, now: datetime) -> dict[str, Any]:
    """Plan, period, spending and quotas as JSON; amounts in nano-dollars and as text, times in ISO 8601."""
    with db.reading() as session:
        spent = balances.spent(session, account_id, now)
        plan = subscriptions.plan_in(session, account_id, settings, now)
        period = balances.period_of(session, account_id, now)
        balance, subscription = session.get(Balance, account_id), session.get(Subscription, account_id)
        used = admission.quota_used(session, account_id, plan, now)
        payment_due = subscriptions.payment_due(session, account_id)
    limit = spend_limit_nanousd(plan, balance.spend_limit_nanousd if balance else None)
    return {
        "plan": plan.key, "plan_name": plan.name, "billable": plan.billable, "limited": plan.limited,
        "markup": str(plan.markup), "payment_due": payment_due,
        "cancels_at": _iso(subscription.ends_at) if subscription and plan.for_sale else None,
        "period": {"start": _iso(period.start), "end": _iso(period.end)},
        "spent_nanousd": spent.charge_nanousd, "spent": format_usd(spent.charge_nanousd),
        "cost_nanousd": spent.cost_nanousd,
        "spend_limit_nanousd": limit, "spend_limit": None if limit is None else format_usd(limit),
        "quotas": [
            {"name": quota.name, "limit": quota.limit, "left": max(0, quota.limit - used[quota.name]),
             "per": quota.per, "resets_at": _iso(quota_window(quota, now).end)}
            for quota in plan.quotas
        ],
        "resets_at": _iso(quota_window(plan.quotas[0], now).end if plan.quotas else period.end),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
