"""The dialog that offers the plans when a limit is reached, or when somebody asks for it; and the spend limit in it."""

from __future__ import annotations

import asyncio
from typing import Any

import reflex as rx

from chatapp.billing import admission, limits
from chatapp.billing.entitlements import SpendingRefused
from chatapp.billing.limits import LimitRefused
from chatapp.billing.money import format_limit
from chatapp.db import now
from chatapp.ids import AccountId
from chatapp.state.price import NextPrice
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer, session_of


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

    async def _offer(self, refusal: SpendingRefused | None) -> None:
        """Open the dialog, after a refusal perhaps: all of it as of now, and nothing of an earlier time."""
        self.reset()
        (await self.get_state(SpendLimit)).reset()
        await (await self.get_state(Viewer))._load()
        if refusal is not None:
            self._refuse(refusal)
        self.is_open = True

    @rx.event
    async def show(self) -> None:
        """Open the dialog because the person wants to see the plans."""
        await self._offer(None)

    async def _look_again(self, account_id: AccountId) -> None:
        """The limit has changed: show it, and say no longer what may not be so any more."""
        self.reason, self.resets = "", ""
        await (await self.get_state(Viewer))._load()
        await self._show_limit(account_id)

    @rx.event
    def close(self) -> None:
        """Close it."""
        self.is_open = False


class SpendLimit(rx.State):
    """The form in which a customer chooses their spend limit, and what came of it."""

    error: str = ""
    saved: str = ""

    @rx.event
    async def save(self, form: dict[str, Any]) -> Any:  # noqa: ANN401 - Reflex' event specs
        """Set the limit of the session's own account."""
        session, services = await session_of(self), runtime().services
        account_id = AccountId(session.account_id if session else "")
        self.error, self.saved = "", ""
        try:
            limit = await asyncio.to_thread(limits.choose, services.db, services.settings, account_id,
                                            form.get("limit"), now())
        except LimitRefused as refusal:
            self.error = refusal.text
            return None
        self.saved = f"Your limit is now {format_limit(limit)} per period."
        await (await self.get_state(PlanDialog))._look_again(account_id)
        return NextPrice.load
