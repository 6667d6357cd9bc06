"""One turn, from the stored question to the saved answer: background work, independent of any browser connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any
from uuid import uuid4

from chatapp.agent import events, research
from chatapp.billing.entitlements import Entitlement
from chatapp.chat import turns
from chatapp.chat.draft import Part
from chatapp.chat.ending import Ending, ending_of
from chatapp.chat.live import LiveAnswer
from chatapp.chat.turns import Prompt
from chatapp.clients.code import Chart, Figure
from chatapp.models import Message
from chatapp.services import Services

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 0.5
MAX_TURN_SECONDS = 600
SAVE_PAUSES_SECONDS = (0.2, 1.0, 3.0)
TOO_LONG = f"The answer took longer than {MAX_TURN_SECONDS // 60} minutes and was ended. What had arrived is kept."
NOT_SAVED = "The answer could not be saved yet. Reload the page in a minute: what had arrived comes back."


async def reply(prompt: Prompt, entitlement: Entitlement, services: Services, live: LiveAnswer) -> None:
    """Write the answer to `prompt` into `live` and, at the end, into the database, with what it cost.

    It ends as `done`; as `stopped` when the person stopped it; as `interrupted` when the process is shut down; as
    `failed`, with a text for the person, on any error. What had arrived is kept in every case.
    """
    deps = research.ResearchDeps(
        settings=services.settings, db=services.db, valyu=services.valyu, code_runner=services.code_runner,
        model=services.model, entitlement=entitlement, turn_id=prompt.message_id, thread_id=prompt.thread_id,
        stopped=lambda: live.stop_requested)
    keeper = asyncio.create_task(_keep(prompt, services, live, asyncio.current_task()))
    page = _Page(prompt, services, live)
    history_json, error = "", ""
    try:
        async with asyncio.timeout(MAX_TURN_SECONDS) as limit:
            answering = research.answer(prompt.text, history_json=prompt.history_json, deps=deps)
            async with contextlib.aclosing(answering) as stream:
                async for event in stream:
                    if isinstance(event, events.Finished):
                        history_json = event.history_json
                    await page.show(event)
        status = "done"
    except asyncio.CancelledError:
        status = "stopped" if live.stop_requested else "interrupted"
    except Exception as problem:
        status, error = "failed", TOO_LONG if limit.expired() else _text_of(problem)
    # From here on nothing may be cut short: a second cancel would lose what was paid for.
    finishing = asyncio.create_task(_finish(prompt, services, live, keeper, status, error, history_json))
    while not finishing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([finishing])
    finishing.result()


async def _finish(prompt: Prompt, services: Services, live: LiveAnswer, keeper: asyncio.Task[None], status: str,
                  error: str, history_json: str) -> None:
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeper
    live.flush()
    save = partial(turns.save, services.db, prompt.message_id, live.draft, status=status, error=error,
                   history_json=history_json)
    try:
        message = await _persistently(save)
    except Exception:
        live.end(asdict(Ending("failed", NOT_SAVED, "", "")))
        raise  # the turn stays in the database, and is saved from its chunks when its lease has run out
    live.end(asdict(ending_of(message)))


async def _persistently(save: Callable[[], Message]) -> Message:
    """Save, and try again where the database fails: the answer is paid for. Raises what the last attempt raised."""
    for pause in SAVE_PAUSES_SECONDS:
        try:
            return await asyncio.to_thread(save)
        except Exception:
            log.exception("An answer could not be saved; it is tried again in %s s.", pause)
            await asyncio.sleep(pause)
    return await asyncio.to_thread(save)


async def _keep(prompt: Prompt, services: Services, live: LiveAnswer, writer: asyncio.Task[None] | None) -> None:
    """While the turn runs: store what is new, renew the lease, notice a wish to stop from another process."""
    stored = 0
    while True:
        await asyncio.sleep(CHECKPOINT_SECONDS)
        fresh = live.draft.operations[stored:]
        try:
            said = await asyncio.to_thread(turns.checkpoint, services.db, prompt.message_id, stored + 1, fresh)
        except Exception:
            log.exception("The checkpoint of answer %s failed; the next one stores what this one did not.",
                          prompt.message_id)
            continue
        stored += len(fresh)
        if said != "go on" and writer is not None:
            live.stop_requested |= said == "stop"
            writer.cancel()
            return


class _Page:
    """Turns the agent's events into the operations that the page receives."""

    def __init__(self, prompt: Prompt, services: Services, live: LiveAnswer) -> None:
        self._prompt, self._services, self._live = prompt, services, live
        self._steps: dict[str, Part] = {}
        self._sources: dict[int, Part] = {}

    async def show(self, event: events.Event) -> None:
        match event:
            case events.TextDelta(text):
                self._live.say(text)
            case events.SearchStarted(id, query):
                self._step(id, type="search", query=query, status="running", found=0, error="")
            case events.SearchFinished(id, sources, error):
                self._step(id, status="failed" if error else "done", found=len(sources), error=error or "")
                self._sources.update({source.number: asdict(source) for source in sources})
                self._live.show({"t": "sources", "s": [self._sources[number] for number in sorted(self._sources)]})
            case events.CodeStarted(id, code):
                self._step(id, type="code", code=code, status="running", output="", error="", figures=[])
            case events.CodeFinished(id, output, error, figures):
                shown = [await self._figure(figure) for figure in figures]
                self._step(id, status="failed" if error else "done", output=output, error=error or "", figures=shown)
            case events.Thinking() | events.Finished():
                pass

    def _step(self, id: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        self._steps[id] = {**self._steps.get(id, {"id": id}), **fields}
        self._live.show({"t": "part", "p": self._steps[id]})

    async def _figure(self, figure: Figure) -> Part:
        if isinstance(figure, Chart):
            return {"chart": asdict(figure)}
        figure_id = await asyncio.to_thread(turns.save_figure, self._services.db, self._prompt.message_id, figure)
        return {"url": f"/api/figures/{figure_id}", "alt": figure.title or "Figure made by the code"}


def _text_of(problem: Exception) -> str:
    """The person's text of a domain error; of anything else an id, under which the log has the rest."""
    text = getattr(problem, "text", "")
    if text:
        return str(text)
    error_id = uuid4().hex[:8]
    log.error("An answer failed (error %s)", error_id, exc_info=problem)
    return f"Something went wrong on our side (error {error_id}). You were charged only for what was already done."
