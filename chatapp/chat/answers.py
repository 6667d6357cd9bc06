"""The answers of this process: begun, followed, stopped, recovered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from chatapp.billing import admission, holds
from chatapp.chat import chunks, recovery, threads, turns
from chatapp.chat.draft import operations_of
from chatapp.chat.ending import ending_of
from chatapp.chat.live import LiveAnswer
from chatapp.chat.reply import reply
from chatapp.chat.turns import Prompt
from chatapp.db import now
from chatapp.ids import AccountId, MessageId
from chatapp.services import Services

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often a reader looks into the database for an answer that another process writes."""
KEEP_ENDED_SECONDS = 60


class Answers:
    """Holds the running turns of this process. One per process."""

    def __init__(self, services: Services, *, ended: Callable[[], None] = lambda: None) -> None:
        """`ended` is called after each turn, so that what it spent is delivered at once."""
        self._services = services
        self._tell = ended
        self._live: dict[MessageId, LiveAnswer] = {}

    async def ask(self, account_id: AccountId, thread_id: object | None, text: object) -> Prompt:
        """Check, count and store a question, and begin the answer, which goes on whatever becomes of the caller.

        Raises:
            ChatError: the question is empty or too long, or an answer is still being written.
            NotFound: the thread is not this account's.
            SpendingRefused: the plan's limits; it carries what the page shows.
        """
        question = threads.question_text(text)
        return await asyncio.shield(self._begin(account_id, thread_id, question))

    async def stop(self, account_id: AccountId, message_id: object) -> None:
        """Stop an answer, wherever it is being written; what had arrived is kept. Raises NotFound."""
        message = await asyncio.to_thread(threads.owned_message, self._services.db, account_id, message_id)
        live = self._live.get(MessageId(message.id))
        if live is not None and live.task is not None and not live.ending:
            live.stop_requested = True
            live.task.cancel()
        else:
            await asyncio.to_thread(turns.request_stop, self._services.db, account_id, MessageId(message.id))

    async def follow(self, account_id: AccountId, message_id: object, after: int) -> AsyncIterator[tuple[int, str]]:
        """Yield (number, JSON) of an answer's operations above `after`, and its ending.

        Reads memory where this process writes the answer, else the database. Raises NotFound before the first item.
        """
        message = await asyncio.to_thread(threads.owned_message, self._services.db, account_id, message_id)
        if (live := self._live.get(MessageId(message.id))) is not None:
            async for item in live.follow(after):
                yield item
            return
        number, key = max(after, 0), MessageId(message.id)
        while True:
            running = message.status == "streaming"
            for number, data in await asyncio.to_thread(chunks.stored, self._services.db, key, number):  # noqa: B020 - a list
                yield number, data
            if not running:
                break
            await asyncio.sleep(POLL_SECONDS)
            try:
                message = await asyncio.to_thread(threads.owned_message, self._services.db, account_id, key)
            except threads.NotFound:  # a visitor signed in and took the chat along: their new session may ask again
                return
        if number == 0:  # nothing is left of how it was written, and this reader has nothing yet
            for number, data in enumerate(operations_of(message.parts, message.sources), start=1):
                yield number, data
        yield number + 1, ending_of(message).as_operation()

    def remembers(self, message_id: str) -> bool:
        """Whether this process writes the answer, or wrote it a moment ago.

        As long as it does, every reader anywhere has been given the whole answer, or still can be.
        """
        return MessageId(message_id) in self._live

    async def recover(self) -> int:
        """Settle the holds and save the answers of processes that died. Returns how many answers were saved."""
        alive = {key for key, live in self._live.items() if live.task is not None and not live.task.done()}
        recovered = await asyncio.to_thread(recovery.recover, self._services.db, alive)
        await asyncio.to_thread(holds.sweep, self._services.db, now())
        await asyncio.to_thread(chunks.sweep, self._services.db)
        if recovered:
            self._tell()
        return len(recovered)

    async def close(self) -> None:
        """Interrupt the answers of this process and save what they have: for an orderly shutdown."""
        tasks = [live.task for live in self._live.values() if live.task is not None and not live.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, account_id: AccountId, thread_id: object | None, question: str) -> Prompt:
        """The whole beginning, which its caller cannot cut short: a question is not counted without being stored."""
        services = self._services
        entitlement = await asyncio.to_thread(admission.admit, services.db, services.settings, account_id, now())
        try:
            prompt = await asyncio.to_thread(
                turns.begin, services.db, account_id, thread_id, question,
                model=services.settings.model, plan=entitlement.plan.key, counted=entitlement.counted)
        except Exception as problem:
            await asyncio.to_thread(admission.give_back, services.db, entitlement)
            if isinstance(problem, turns.AlreadyAsked):
                return problem.prompt
            raise
        live = self._live[prompt.message_id] = LiveAnswer()
        live.task = asyncio.create_task(reply(prompt, entitlement, services, live), name=f"answer {prompt.message_id}")
        live.task.add_done_callback(lambda task: self._ended(prompt.message_id, task))
        await asyncio.sleep(0)  # a task that is cancelled before its first step would never save anything
        return prompt

    def _ended(self, message_id: MessageId, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("An answer's task failed after its error handling: %s", message_id, exc_info=error)
        self._tell()
        asyncio.get_running_loop().call_later(KEEP_ENDED_SECONDS, self._live.pop, message_id, None)
