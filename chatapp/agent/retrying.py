"""Retries above the meter: each attempt is a wire request of its own, with its own hold and its own bill."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from chatapp.agent.errors import is_temporary

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
"""A vendor that asks for more patience than this has failed, as far as a waiting person is concerned."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RetryingModel(WrapperModel):
    """Repeats a request that failed for a passing reason before anything of its answer came."""

    def __init__(self, wrapped: Model, *, first_pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        super().__init__(wrapped)
        self._first_pause_seconds = first_pause_seconds

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """See `Model.request`."""
        return await self._repeat(
            lambda: self.wrapped.request(messages, model_settings, model_request_parameters)
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """See `Model.request_stream`. Once the answer has begun, an error is final."""
        async with AsyncExitStack() as stack:
            yield await self._repeat(lambda: stack.enter_async_context(
                self.wrapped.request_stream(messages, model_settings, model_request_parameters, run_context)
            ))

    async def _repeat(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        for number in range(1, ATTEMPTS):
            try:
                return await attempt()
            except ModelAPIError as error:
                pause = self._pause_seconds(error, number)
                if not is_temporary(error) or pause > LONGEST_PAUSE_SECONDS:
                    raise
                _log.warning("Attempt %s at the model failed, the next in %.1f s: %s", number, pause, error)
            await asyncio.sleep(pause)
        return await attempt()

    def _pause_seconds(self, error: ModelAPIError, number: int) -> float:
        """What the vendor asked for, or twice as long each time, with some chance so that not all come at once."""
        if error.retry_after is not None:
            return error.retry_after
        return self._first_pause_seconds * 2.0 ** (number - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
