"""Who is looking: the session behind the websocket, and the gate in front of every event."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import reflex as rx
from reflex.app import App
from reflex.state import BaseState, StateUpdate
from reflex_base.event import Event

from chatapp.accounts import sessions
from chatapp.accounts.sessions import Session
from chatapp.billing import status
from chatapp.billing.catalog import PLANS
from chatapp.billing.money import format_limit, format_usd
from chatapp.db import now
from chatapp.state.runtime import runtime

PAYMENT_DUE = "Your last payment did not go through."


async def session_of(state: BaseState) -> Session | None:
    """The session of the HttpOnly cookie that came with the websocket's handshake, looked up anew."""
    services = runtime().services
    cookie = state.router.headers.raw_headers.get("cookie")
    return await asyncio.to_thread(sessions.current, services.db, cookie, services.settings, now())


class Viewer(rx.State):
    """The person as the page shows them. Nothing here decides anything: the session is looked up for that.

    Until `loaded`, nobody knows whether somebody is signed in, and the page must not claim either.
    """

    loaded: bool = False
    known: bool = False
    signed_in: bool = False
    email: str = ""
    name: str = ""
    plan_key: str = ""
    plan_name: str = ""
    subscribed: bool = False
    ends_on: str = ""
    problem: str = ""
    spent: str = ""
    spent_note: str = ""
    limit: str = ""
    quota_text: str = ""

    _account_id: str = ""

    async def _load(self) -> None:
        """Refresh what the settings menu shows."""
        session = await session_of(self)
        if session is None:
            self.reset()
            self.loaded = True
            return
        self.loaded = self.known = True
        self.signed_in = not session.is_visitor
        self.email, self.name = session.email, session.name
        services = runtime().services
        shown = await asyncio.to_thread(status.status, services.db, services.settings, session.account_id, now())
        plan = PLANS[shown["plan"]]
        self.plan_key, self.plan_name, self.subscribed = plan.key, plan.name, plan.for_sale
        self.problem = PAYMENT_DUE if shown["payment_due"] else ""
        self.ends_on = _day(shown["cancels_at"])
        self.spent = format_usd(shown["spent_nanousd"] if plan.billable else shown["cost_nanousd"])
        self.spent_note = "to be billed" if plan.billable else f"included in {plan.name}"
        limit = shown["spend_limit_nanousd"]
        self.limit = "" if limit is None else format_limit(limit)
        self.quota_text = ", ".join(f"{quota['left']} of {quota['limit']} {quota['name']} left"
                                    for quota in shown["quotas"])


class Gate(rx.Middleware):
    """Runs before every event: a state belongs to one account, and is emptied before another one may see it.

    The client token that addresses a state is chosen by the browser, so it identifies nobody; the session cookie
    does. Handlers authorise themselves; the gate makes sure that what an earlier session left behind is gone.
    """

    async def preprocess(self, app: App, state: BaseState, event: Event) -> StateUpdate | None:
        """Empty the state when its account is not the session's. Then let the event go on."""
        session = await session_of(state)
        account_id = session.account_id if session is not None else ""
        viewer = await state.get_state(Viewer)
        if viewer._account_id != account_id:
            for cls in _own_states(rx.State):
                substate: Any = await state.get_state(cls)
                substate.reset()
            viewer._account_id = account_id
        return None


def _own_states(parent: type[BaseState]) -> list[type[BaseState]]:
    """All State classes of the app below `parent`, found by introspection so that a new one is not forgotten."""
    found: list[type[BaseState]] = []
    for cls in parent.get_substates():
        if cls.__module__.startswith("chatapp."):
            found.append(cls)
        found.extend(_own_states(cls))
    return found


def _day(iso: str | None) -> str:
    return f"{datetime.fromisoformat(iso):%-d %B %Y}" if iso else ""
