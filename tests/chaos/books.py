"""What the app's database and Polar's say of one account."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.browser.app import RunningApp


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Poll; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise AssertionError(f"Not within {seconds} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


@dataclass(frozen=True)
class Books:
    app: RunningApp
    account_id: str

    def ledger(self) -> list[dict[str, Any]]:
        return self.app.query("SELECT * FROM usage_event WHERE account_id = ? ORDER BY id", self.account_id)

    def answer(self, thread_id: str) -> dict[str, Any]:
        """The newest answer of a thread."""
        return self.app.query("SELECT * FROM message WHERE thread_id = ? AND role = 'assistant' "
                              "ORDER BY created_at DESC LIMIT 1", thread_id)[0]

    def held(self) -> tuple[int, int]:
        """Open holds, and the nano-dollars that the balance says are held."""
        holds = self.app.query("SELECT count(*) AS n FROM hold WHERE account_id = ?", self.account_id)[0]["n"]
        balance = self.app.query("SELECT held_nanousd, held_cost_nanousd FROM balance WHERE account_id = ?",
                                 self.account_id)[0]
        return holds, balance["held_nanousd"] + balance["held_cost_nanousd"]

    def at_polar(self) -> Counter[str]:
        """How often Polar has each event, by the ledger row's id."""
        rows = self.app.query_emulators("SELECT external_id FROM polar_event WHERE source = 'user' "
                                        "AND external_customer_id = ?", self.account_id)
        return Counter(row["external_id"] for row in rows)

    def quantity_microusd(self) -> Decimal:
        """This account's quantity of Polar's one meter, as Polar's API tells it."""
        headers = {"Authorization": "Bearer polar_oat_emulated"}
        meter = self.app.emulator("GET", "/polar/v1/meters/", headers=headers)["items"][0]
        now, day = datetime.now(UTC), timedelta(days=1)
        answer = self.app.emulator("GET", f"/polar/v1/meters/{meter['id']}/quantities", headers=headers, params={
            "start_timestamp": (now - day).isoformat(), "end_timestamp": (now + day).isoformat(),
            "interval": "day", "external_customer_id": self.account_id})
        return Decimal(str(answer["total"]))

    def in_flight(self) -> list[dict[str, Any]]:
        """Events that were handed to a delivery which has not come back."""
        return self.app.query("SELECT * FROM outbox_message WHERE channel = 'usage' AND account_id = ? "
                              "AND lease_until IS NOT NULL AND delivered_at IS NULL", self.account_id)

    def balanced(self) -> bool:
        """Whether Polar has each ledger row once, and its meter says what the ledger says."""
        ledger = self.ledger()
        charged = sum(row["charge_nanousd"] for row in ledger if row["billable"])
        return (self.at_polar() == Counter(row["id"] for row in ledger)
                and self.quantity_microusd() * 1000 == charged)
