"""The list of chats in the sidebar."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import reflex as rx

from chatapp.chat import threads
from chatapp.ids import AccountId
from chatapp.state.runtime import runtime
from chatapp.state.viewer import session_of


@dataclass
class ThreadView:
    """One line of the list."""

    id: str
    title: str
    href: str


class Chats(rx.State):
    """All chats of the account, newest first."""

    loaded: bool = False
    threads: list[ThreadView] = []  # noqa: RUF012 - Reflex copies the default for every state

    async def _load(self) -> None:
        session = await session_of(self)
        rows = [] if session is None else await asyncio.to_thread(
            threads.list_threads, runtime().services.db, AccountId(session.account_id))
        self.threads = [ThreadView(row.id, row.title, f"/chat/{row.id}/") for row in rows]
        self.loaded = True
