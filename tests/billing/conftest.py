"""An account and its entitlement, to spend with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatapp.billing import holds, ledger
from chatapp.billing.catalog import PAY_PER_USE, Plan
from chatapp.billing.entitlements import Entitlement
from chatapp.billing.ledger import Total
from chatapp.billing.pricing import UnitPrices, cost_usd
from chatapp.db import Database
from chatapp.models import Account, Balance, Subscription
from chatapp.settings import Settings, load

if TYPE_CHECKING:
    from tests.billing.town import Town

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PRICES = UnitPrices("openai", "gpt-x", "test", {
    "input_tokens": Decimal("0.0000025"), "cache_read_tokens": Decimal("0.00000025"),
    "cache_write_tokens": Decimal("0.000003"), "output_tokens": Decimal("0.00001"),
})
BOUND = {"input_tokens": 1000, "output_tokens": 100}
"""Costs $0.0035, is charged $0.0042 at 20 %."""
CHARGE = 4_200_000
"""What BOUND is charged."""


@pytest.fixture
def settings() -> Settings:
    return load({"LIMITS": "on"})


@pytest.fixture
def now() -> datetime:
    return NOON


@pytest.fixture
def account(db: Database) -> str:
    return new_account(db)


def turn_total(db: Database, turn_id: str) -> Total:
    with db.reading() as session:
        return ledger.turn_total(session, turn_id)


def new_account(db: Database, kind: str = "person") -> str:
    with db.session() as session:
        row = Account(kind=kind)
        session.add(row)
    return row.id


def subscribe(db: Database, account_id: str, plan: Plan, *, status: str = "active",
              start: datetime = NOON - timedelta(days=3), end: datetime | None = None) -> None:
    with db.session() as session:
        session.merge(Subscription(
            account_id=account_id, polar_subscription_id="s", polar_customer_id="c", plan=plan.key, status=status,
            current_period_start=start, current_period_end=end or start + timedelta(days=30), refreshed_at=NOON,
        ))


def entitlement(account_id: str, plan: Plan = PAY_PER_USE, budget_usd: str = "5") -> Entitlement:
    return Entitlement(account_id, plan, Decimal(budget_usd), plan.limited)


def set_limit(db: Database, account_id: str, nanousd: int) -> None:
    from chatapp.billing import balances

    with db.session() as session:
        balances.current(session, account_id, NOON).spend_limit_nanousd = nanousd


def balance(db: Database, account_id: str) -> Balance:
    with db.reading() as session:
        row = session.get(Balance, account_id)
    assert row is not None
    return row


Place = Callable[..., holds.PlacedHold]


@pytest.fixture
def place(db: Database, account: str, now: datetime) -> Place:
    """Place a hold for a model call of `BOUND`; any argument can be replaced."""
    def _place(**changes: object) -> holds.PlacedHold:
        arguments = {
            "turn_id": "turn-1", "thread_id": "thread-1", "kind": "model", "provider": "openai", "name": "gpt-x",
            "prices": PRICES, "bound_cost_usd": cost_usd(PRICES, BOUND), "quantities_bound": BOUND, "now": now,
            **changes,
        }
        who = arguments.pop("entitlement", None) or entitlement(account)
        return holds.place(db, who, **arguments)  # type: ignore[arg-type]  # the test's own arguments
    return _place




@pytest.fixture
async def town(db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Town]:
    """The emulated Polar and the app's services in front of it."""
    from tests.billing.town import open_town

    async with open_town(db, settings, tmp_path) as opened:
        yield opened
