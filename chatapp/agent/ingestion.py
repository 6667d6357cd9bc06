"""The pydantic-ai strategy of `PolarIngestion`: each wire request of a model is one event, whatever becomes of it.

Before a request is sent, an estimate of it is on record as a draft; while it runs, the draft is brought up to date;
before its response is handed on, the measured figures are. So neither `kill -9` nor a cancel loses what was used:

- a response that is complete and measured is reported as such, `exact`;
- one that was stopped, broke off or came without a measurement is an estimate: the known input, or its bytes/3, and
  what was received of the output; `exact` is false, and vendors' zeros are not believed;
- a request that certainly cost nothing (`errors.certainly_free`: refused, or never connected) leaves no event, and
  neither does one that only asks whether a response in the background is there.

Unlike `meter` it sets nothing aside and refuses nothing: see `guard` for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

from pydantic_ai import RunContext
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from chatapp.agent import bounds
from chatapp.agent.errors import certainly_free, was_stopped
from chatapp.agent.payer import RENEW_SECONDS, to_the_end
from chatapp.billing.ingestion import Draft, Event, Llm, PolarIngestion, Value, known_cost_usd
from chatapp.billing.ingestion.events import sendable_cost
from chatapp.billing.usage_payload import MAX_TEXT
from chatapp.text import storable

EVENT_NAME = "llm"
NOTE_SECONDS = 1.0
"""How much of a streamed answer a crash may leave out of the estimate."""
DONE = ("complete", "suspended")
"""The states of a response that came whole; after a suspended one the run sends another request."""

_log = logging.getLogger(__name__)
_Received = Callable[[], ModelResponse | None]


def price_book_cost(response: ModelResponse) -> Decimal | None:
    """What a response cost, in dollars: as a gateway reported it, or else by the price book; None if neither knows."""
    if response.usage.cost is not None:
        return response.usage.cost
    return known_cost_usd(response.usage, response.model_name, url=response.provider_url,
                          provider=response.provider_name, at=response.timestamp, details=response.provider_details)


class ReportingModel(WrapperModel):
    """A concrete model whose every wire request becomes one event at Polar.

    The metadata of an event: `requests` (1), `input_tokens`, `output_tokens`, `total_tokens`, `request_tokens` and
    `response_tokens` (the same under the names of Polar's former helper, for meters made for it), `cache_read_tokens`
    and `cache_write_tokens` where there are any, `exact`, `status` (`ok` | `stopped` | `failed` | `interrupted`), your
    own, and Polar's `_llm` and, where the cost is known, `_cost`.

    Switch the SDK's own retries off (`max_retries=0`), for nobody sees those, and retry around this model instead. A
    `FallbackModel` is not a concrete model: give it members that are wrapped.
    """

    def __init__(
        self, wrapped: Model, ingestion: PolarIngestion, external_customer_id: str, *,
        event_name: str = EVENT_NAME, metadata: Mapping[str, Value] | None = None,
        cost_usd: Callable[[ModelResponse], Decimal | None] = price_book_cost,
    ) -> None:
        """Report a model's requests. It is cheap: make one for each run.

        Args:
            wrapped: one concrete model.
            ingestion: where the events go.
            external_customer_id: whose they are.
            event_name: what a meter filters on.
            metadata: further keys for every event.
            cost_usd: makes the cost in dollars from a response with its (measured or estimated) usage; returns None
                if it is not known. For endpoints of your own. If it raises, that is logged, and the event has no cost.

        Raises:
            ValueError: the model is a `FallbackModel`.
        """
        super().__init__(wrapped)
        if isinstance(wrapped, FallbackModel):
            raise ValueError("A FallbackModel makes several requests in one: wrap each of its members instead.")
        self.ingestion = ingestion
        self.external_customer_id = external_customer_id
        self.event_name = event_name
        self.metadata = dict(metadata or {})
        self.cost_usd = cost_usd

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """See `Model.request`.

        Raises:
            InvalidEvent: what this model was made with is refused by Polar; nothing was sent.
        """
        received: list[ModelResponse] = []
        async with self._reported(messages, model_request_parameters, lambda: received[0] if received else None):
            received.append(await self.wrapped.request(messages, model_settings, model_request_parameters))
        return received[0]

    @asynccontextmanager
    async def request_stream(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters, run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """See `Model.request_stream`; raises as `request`."""
        opened: list[StreamedResponse] = []
        async with (
            self._reported(messages, model_request_parameters, lambda: opened[0].get() if opened else None),
            self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream,
        ):
            opened.append(stream)
            yield stream

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        """See `Model.compact_messages`: it is a wire request as well."""
        received: list[ModelResponse] = []
        async with self._reported(request_context.messages, request_context.model_request_parameters,
                                  lambda: received[0] if received else None):
            received.append(await self.wrapped.compact_messages(request_context, instructions=instructions))
        return received[0]

    async def batch_create(self, requests: object) -> NoReturn:
        """Refuse a batch: its requests run at the provider, unseen.

        Raises:
            UserError: always.
        """
        raise UserError("The requests of a batch cannot be reported one by one: use the model itself, and `track`.")

    @asynccontextmanager
    async def _reported(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters, received: _Received
    ) -> AsyncIterator[None]:
        likely = bounds.input_bound(messages, bounds.fixed_bytes(parameters), self.model_name).likely
        event = partial(self._event, likely, received, datetime.now(UTC))
        draft = await to_the_end(partial(self.ingestion.draft, event("interrupted")), undo=Draft.withdraw)
        notes = asyncio.create_task(_note(draft, lambda: event("interrupted")))
        try:
            yield
        except BaseException as error:
            notes.cancel()
            free = not _has_begun(received()) and certainly_free(error)
            status = "stopped" if was_stopped(error) else "failed"
            close = draft.withdraw if free else partial(draft.finish, event(status))
            if isinstance(error, GeneratorExit):  # thrown away: there may be no event loop left to wait in
                close()
            else:
                await to_the_end(close)
            raise
        notes.cancel()
        await to_the_end(draft.withdraw if _is_awaited(received()) else partial(draft.finish, event("ok")))

    def _event(self, likely_input: int, received: _Received, at: datetime, status: str) -> Event:
        response = received()
        usage, exact = _usage(response, likely_input)
        known = response or ModelResponse(parts=[], timestamp=at)
        known = replace(known, usage=usage, model_name=known.model_name or self.model_name,
                        provider_name=known.provider_name or self.system,
                        provider_url=known.provider_url or self.base_url)
        if status == "ok" and known.state not in DONE:
            status = "stopped"
        return Event(
            self.event_name, self.external_customer_id,
            {**self.metadata, **_metadata(usage), "exact": exact, "status": status},
            cost_usd=self._cost_usd(known),
            llm=Llm(_text(known.provider_name), _text(known.model_name), usage.input_tokens, usage.output_tokens,
                    cached_input_tokens=usage.cache_read_tokens),
        )

    def _cost_usd(self, response: ModelResponse) -> Decimal | None:
        try:
            return sendable_cost(self.cost_usd(response))
        except Exception:  # code of the caller's: an event without its cost is worth more than no event
            _log.exception("The cost of a request to %s could not be made.", self.model_name)
            return None


def _usage(response: ModelResponse | None, likely_input: int) -> tuple[RequestUsage, bool]:
    """What was used, and whether the vendor measured it."""
    if response is None:
        return RequestUsage(input_tokens=likely_input), False
    said = response.usage
    if response.state in DONE and said.input_tokens > 0 and not said.unmeasured_requests:
        return said, True
    output = max(said.output_tokens, bounds.output_estimate(response))
    return replace(said, input_tokens=said.input_tokens or likely_input, output_tokens=output,
                   unmeasured_requests=0, cost=None), False


def _metadata(usage: RequestUsage) -> dict[str, Value]:
    cached = {"cache_read_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    return {
        "requests": 1, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
        "request_tokens": usage.input_tokens, "response_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        **{name: tokens for name, tokens in cached.items() if tokens},
    }


def _is_awaited(response: ModelResponse | None) -> bool:
    """Whether the provider works on in the background: the request that fetches its answer has the whole usage."""
    return response is not None and response.state == "suspended" and response.usage.total_tokens == 0


def _has_begun(response: ModelResponse | None) -> bool:
    return response is not None and (bool(response.parts) or response.usage.total_tokens > 0)


def _text(name: str | None) -> str:
    return storable(name or "")[:MAX_TEXT] or "unknown"


async def _note(draft: Draft, event: Callable[[], Event]) -> None:
    """Keep the draft up to date, so that a crash reports what was received until a moment before it."""
    noted: Event | None = None
    at = time.monotonic()
    while True:
        await asyncio.sleep(NOTE_SECONDS)
        try:
            so_far = event()
            if so_far == noted and time.monotonic() < at + RENEW_SECONDS:
                continue
            await asyncio.to_thread(draft.note, so_far)
        except Exception:  # the request goes on: without this note a crash would report an older estimate, no more
            _log.exception("Could not note the progress of a request to %s.", draft)
        else:
            noted, at = so_far, time.monotonic()
