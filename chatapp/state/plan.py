"""The dialog that offers the plans when a limit is reached, or when somebody asks for it."""

from __future__ import annotations

import asyncio

import reflex as rx

from chatapp.billing import admission
from chatapp.billing.entitlements import SpendingRefused
from chatapp.db import now
from chatapp.ids import AccountId
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer


class PlanDialog(rx.State):
    """Open or not, and what it says."""

    is_open: bool = False
    reason: str = ""
    resets: str = ""

    def _refuse(self, refusal: SpendingRefused) -> None:
        """Open the dialog with what was refused and when it resets."""
        self.reason = refusal.text
        self.resets = f"{refusal.resets_at:%-d %B, %H:%M} UTC" if refusal.resets_at else ""
        self.is_open = True

    async def _show_limit(self, account_id: AccountId) -> None:
        """Open the dialog if the account has indeed reached its limit; the address alone proves nothing."""
        services = runtime().services
        try:
            await asyncio.to_thread(admission.verdict, services.db, services.settings, account_id, now())
        except SpendingRefused as refusal:
            self._refuse(refusal)

    @rx.event
    async def show(self) -> None:
        """Open the dialog because the person wants to see the plans."""
        self.reason, self.resets = "", ""
        await (await self.get_state(Viewer))._load()
        self.is_open = True

    @rx.event
    def close(self) -> None:
        """Close it."""
        self.is_open = False
