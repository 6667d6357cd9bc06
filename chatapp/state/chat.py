"""The open chat: its messages, asking, stopping."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

import reflex as rx

from chatapp.billing.entitlements import SpendingRefused
from chatapp.chat import threads
from chatapp.chat.ending import ending_of
from chatapp.chat.threads import ChatError, NotFound
from chatapp.ids import AccountId
from chatapp.models import Message
from chatapp.state.chats import Chats
from chatapp.state.notices import TEXTS
from chatapp.state.plan import PlanDialog
from chatapp.state.price import NextPrice
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer, session_of

COMPOSER = "question"
"""The id of the text field."""


Status: TypeAlias = Literal["streaming", "done", "stopped", "interrupted", "failed"]


@dataclass
class MessageView:
    """One message as the page gets it. `src` is the address of its stream while it is being written."""

    id: str
    role: str
    text: str = ""
    parts: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    status: Status = "done"
    error: str = ""
    price: str = ""
    price_note: str = ""
    src: str = ""


def view_of(message: Message) -> MessageView:
    """A saved message, or a running one with the address of its stream."""
    if message.role == "user":
        return MessageView(message.id, "user", text=message.text)
    ending = ending_of(message)
    src = f"/api/answers/{message.id}/stream" if message.status == "streaming" else ""
    return MessageView(message.id, "assistant", parts=message.parts, sources=message.sources,
                       status=cast(Status, message.status), error=message.error, price=ending.price,
                       price_note=ending.price_note, src=src)


def _ended(message: Message) -> MessageView:
    """A message whose stream this page has just read to its end.

    A whole answer is not sent again: the component keeps what it streamed where it is given no parts. One that did not
    come to its end may have been saved in another form than it was streamed; and who comes back to their stream long
    after its end (the laptop slept) is told that it ended, but not what they have missed.
    """
    view = view_of(message)
    streamed = message.status == "done" and runtime().answers.remembers(message.id)
    return replace(view, parts=[], sources=[]) if streamed else view


class Latest(rx.State):
    """What was asked and answered since the page was opened. A class of its own, so that it alone is sent again."""

    messages: list[MessageView] = []  # noqa: RUF012 - Reflex copies the default for every state

    @rx.var
    def running(self) -> str:
        """The id of the answer that is being written, or nothing."""
        return next((message.id for message in self.messages if message.src), "")

    @rx.var
    def unfinished(self) -> bool:
        """Whether the last answer ended before it was complete, so that the page offers to ask again."""
        return bool(self.messages) and not self.messages[-1].src and self.messages[-1].status != "done"

    @rx.var
    def count(self) -> int:
        """How many messages there are: when it changes, the page goes to its end."""
        return len(self.messages)


class Chat(rx.State):
    """The open chat as it was when it was opened."""

    open_id: str = ""
    title: str = ""
    messages: list[MessageView] = []  # noqa: RUF012 - Reflex copies the default for every state
    loading: bool = True
    missing: bool = False
    notice: str = ""

    @rx.event
    async def start(self) -> Any:  # noqa: ANN401 - Reflex' event specs
        """The page for a new chat was opened."""
        await self._begin()
        self.loading = False
        query = self.router.url.query_parameters
        self.notice = TEXTS.get(query.get("notice", ""), "")
        if query.get("limit"):
            await (await self.get_state(PlanDialog))._show_limit(await self._account())
        return NextPrice.load

    @rx.event
    async def open(self) -> Any:  # noqa: ANN401 - Reflex' event specs
        """The page of a chat was opened: show it, and join its answer if one is being written."""
        latest = await self._begin()
        self.loading = False
        try:
            opened = await asyncio.to_thread(threads.open_thread, runtime().services.db, await self._account(),
                                             self._thread_of_page())
        except ChatError:
            self.missing = True
            return None
        views = [view_of(message) for message in opened.messages]
        split = len(views) - 2 if views and views[-1].status != "done" else len(views)
        self.open_id, self.title, self.messages = opened.thread.id, opened.thread.title, views[:split]
        latest.messages = views[split:]
        return None if latest.running else NextPrice.load

    @rx.event
    async def send(self, form: dict[str, Any]) -> Any:  # noqa: ANN401 - Reflex' event specs
        """Ask. A new chat gets a page of its own; a refused question stays in the field."""
        return await self._ask(form.get(COMPOSER), rx.set_value(COMPOSER, ""))

    @rx.event
    async def again(self) -> Any:  # noqa: ANN401 - Reflex' event specs
        """Ask the chat's last question once more: its answer did not come to its end. The field keeps what is in it."""
        if (await self.get_state(Latest)).running:  # a double click
            return None
        try:
            question = await asyncio.to_thread(threads.last_question, runtime().services.db, await self._account(),
                                               self._thread_of_page())
        except ChatError as error:
            self.notice = error.text
            return None
        return await self._ask(question)

    @rx.event
    async def stop(self) -> None:
        """Stop the answer that is being written in this chat."""
        running = (await self.get_state(Latest)).running
        try:
            await runtime().answers.stop(await self._account(), running)
        except ChatError as error:
            self.notice = error.text

    @rx.event
    async def finished(self, message_id: str, status: str) -> Any:  # noqa: ANN401 - Reflex' event specs
        """The browser says that a stream ended; what is shown from here on comes from the database."""
        latest = await self.get_state(Latest)
        try:
            message = await asyncio.to_thread(threads.owned_message, runtime().services.db, await self._account(),
                                              message_id)
        except ChatError:
            return None
        latest.messages = [_ended(message) if view.id == message.id else view for view in latest.messages]
        await self._load_frame()
        return NextPrice.load

    @rx.event
    def dismiss(self) -> None:
        """Close the notice above the composer."""
        self.notice = ""

    async def _ask(self, question: object, *asked: Any) -> Any:  # noqa: ANN401 - Reflex' event specs
        """Begin an answer. Returns what the page does next: `asked`, or go to the new chat, or ask to pay."""
        self.notice = ""
        try:
            prompt = await runtime().answers.ask(await self._account(), self._thread_of_page(), question)
        except SpendingRefused as refusal:
            return await (await self.get_state(PlanDialog))._offer(refusal)
        except ChatError as error:
            self.notice = error.text
            return None
        if self.open_id != prompt.thread_id:
            return rx.redirect(f"/chat/{prompt.thread_id}/")
        await self._append(prompt.text, prompt.message_id)
        return list(asked)

    def _thread_of_page(self) -> str | None:
        """The thread in the address of the page that sent this event; None on the page for a new chat.

        Not `open_id`: an event can be sent from a page before its own loading was handled.
        """
        return str(getattr(self, "thread_id", "")) or None

    async def _account(self) -> AccountId:
        """The session's account. Raises NotFound where there is no session."""
        session = await session_of(self)
        if session is None:
            raise NotFound
        return AccountId(session.account_id)

    async def _begin(self) -> Latest:
        """Forget what another page left in this tab's state, and load what surrounds the chat."""
        self.reset()
        latest = await self.get_state(Latest)
        latest.reset()
        (await self.get_state(PlanDialog)).reset()
        await self._load_frame()
        return latest

    async def _load_frame(self) -> None:
        await (await self.get_state(Viewer))._load()
        await (await self.get_state(Chats))._load()

    async def _append(self, question: str, message_id: str) -> None:
        latest = await self.get_state(Latest)
        latest.messages = [
            *latest.messages,
            MessageView(f"{message_id}-question", "user", text=question),
            MessageView(message_id, "assistant", status="streaming", src=f"/api/answers/{message_id}/stream"),
        ]
        await (await self.get_state(Chats))._load()
