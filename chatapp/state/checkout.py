"""The page after a checkout: waits until Polar's word has arrived, and claims nothing before."""

from __future__ import annotations

import asyncio
import logging

import reflex as rx

from chatapp.billing import subscriptions
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import now
from chatapp.services import Services
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer, session_of

WAIT_SECONDS = 60
POLL_SECONDS = 0.5

_log = logging.getLogger(__name__)


class CheckoutResult(rx.State):
    """Waiting, arrived, or late."""

    phase: str = "waiting"

    @rx.event(background=True)
    async def wait(self) -> None:
        """Watch the local subscription, which the webhook's worker writes, until it is there."""
        async with self:
            self.phase = "waiting"
            session = await session_of(self)
        if session is None:
            async with self:
                self.phase = "signed_out"
            return
        services = runtime().services
        for _ in range(int(WAIT_SECONDS / POLL_SECONDS)):
            plan = await asyncio.to_thread(subscriptions.plan_of, services.db, session.account_id, services.settings,
                                           now())
            if plan.for_sale:
                break
            await asyncio.sleep(POLL_SECONDS)
        else:
            await _ask_polar(services, session.account_id)
        async with self:
            viewer = await self.get_state(Viewer)
            await viewer._load()
            self.phase = "arrived" if viewer.subscribed else "late"


async def _ask_polar(services: Services, account_id: str) -> None:
    """The webhook has not come: ask before saying that it is late."""
    try:
        await subscriptions.refresh(services, account_id)
    except (Unavailable, Rejected) as error:
        _log.warning("After the checkout of account %s Polar did not say its plan: %s", account_id, error)
