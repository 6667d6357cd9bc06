"""The meter around a model: every wire request is hold → call → settle.

- Before: the input is bounded (`bounds`), the output is limited to what can be afforded, and both together are held.
  If not even a short answer can be afforded, `InsufficientFunds` is raised and nothing is sent.
- After: the vendor's measurement, in disjoint buckets, is settled as exact. An answer that was cut off or came
  without a measurement is settled as an estimate, not exact and never above the hold: vendors report zero for a
  request that was cancelled, and a report of zero is not a cost of zero.
- A request that failed before its answer began releases its hold if that is certainly free (`errors.certainly_free`
  has the rule). Otherwise the vendor may have worked on it and bill us: its input is entered as an estimate that the
  platform bears, since the customer got nothing; so it does where a time limit or a shutdown cut the request off.
  Who stops an answer before it begins pays for that input.

One attempt is one hold: retries belong above the meter (`retrying`), and the SDK's own must be switched off.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings

from chatapp.agent import bounds, measured
from chatapp.agent.bounds import InputBound
from chatapp.agent.errors import certainly_free, was_stopped
from chatapp.agent.payer import Bill, Billing, Order, Payer, paid, place
from chatapp.billing.hold_rows import CUSTOMER, PLATFORM
from chatapp.billing.holds import InsufficientFunds
from chatapp.billing.pricing import OUTPUT_BUCKET, UnitPrices, by_the_request, dearest

MAX_OUTPUT_TOKENS = 8_192
"""The longest answer, reasoning included."""
MIN_OUTPUT_TOKENS = 256
"""Below this an answer is not worth starting."""

TOO_LITTLE_LEFT = "What this question may cost is used up, so the answer ends here."


@dataclass(frozen=True)
class _Request:
    """One wire request as it will be sent, and what it can come to."""

    order: Order
    prices: UnitPrices
    input: InputBound
    max_tokens: int
    settings: ModelSettings
    mark: dict[str, Any]

    def estimate(self, response: ModelResponse | None) -> dict[str, int]:
        """What was used if the vendor does not say: likely input, and what was received of the output."""
        received = bounds.output_estimate(response) if response else 0
        return {"input_tokens": self.input.likely, OUTPUT_BUCKET: min(received, self.max_tokens),
                **by_the_request(self.prices)}


class MeteredModel(WrapperModel):
    """A concrete model whose every wire request is paid for. A fallback model is not: wrap each of its members.

    Attributes:
        reserve_usd: cost in dollars that requests leave untouched, for the steps that have to follow them.
        context_tokens: the tokens of the conversation after the last request; whoever adds to it counts that here.
    """

    def __init__(self, wrapped: Model, payer: Payer, prices: Callable[[], UnitPrices]) -> None:
        """Put the meter around a model.

        Args:
            wrapped: one concrete model, with the SDK's retries switched off.
            payer: on whose account.
            prices: the unit prices of a request that is sent now.
        """
        super().__init__(wrapped)
        self.payer = payer
        self.prices = prices
        self.reserve_usd = Decimal(0)
        self.context_tokens = 0

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """See `Model.request`.

        Raises:
            InsufficientFunds: nothing was sent.
        """
        request = await self._prepare(messages, model_settings, model_request_parameters)
        received: list[ModelResponse] = []
        hold = await place(self.payer, request.order)
        async with paid(self.payer, hold, bill=_billing(self.payer, request, lambda: received[0] if received else None),
                        estimate=lambda: request.estimate(None)):
            response = await self.wrapped.request(messages, request.settings, model_request_parameters)
            response.metadata = {**(response.metadata or {}), **request.mark}
            received.append(response)
        self._remember(request, response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """See `Model.request_stream`.

        Raises:
            InsufficientFunds: nothing was sent.
        """
        request = await self._prepare(messages, model_settings, model_request_parameters)
        opened: list[StreamedResponse] = []

        def so_far() -> ModelResponse | None:
            return opened[0].get() if opened else None

        hold = await place(self.payer, request.order)
        async with (
            paid(self.payer, hold, bill=_billing(self.payer, request, so_far),
                 estimate=lambda: request.estimate(so_far())),
            self.wrapped.request_stream(
                messages, request.settings, model_request_parameters, run_context
            ) as stream,
        ):
            stream.metadata = {**(stream.metadata or {}), **request.mark}
            opened.append(stream)
            yield stream
        self._remember(request, stream.get())

    async def _prepare(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> _Request:
        fixed = bounds.fixed_bytes(parameters)
        bound = bounds.input_bound(messages, fixed, self.model_name)
        prices = self.prices()
        merged = ModelSettings(**(merge_model_settings(self.wrapped.settings, settings) or {}))
        wanted = min(merged.get("max_tokens", MAX_OUTPUT_TOKENS), MAX_OUTPUT_TOKENS)
        max_tokens = await self._max_tokens(prices, bound.at_most, wanted)
        order = Order(
            "model", prices.provider, self.model_name, prices,
            bound_cost_usd=worst_cost_usd(prices, bound.at_most, max_tokens),
            bound={"input_tokens": bound.at_most, OUTPUT_BUCKET: max_tokens, **by_the_request(prices)},
        )
        merged["max_tokens"] = max_tokens
        measured.ask_for_default_tier(merged, prices)
        return _Request(order, prices, bound, max_tokens, merged, bounds.measured_with(fixed, self.model_name))

    async def _max_tokens(self, prices: UnitPrices, input_tokens: int, wanted: int) -> int:
        available = await self.payer.affordable_cost_usd()
        if self.reserve_usd > 0:
            with suppress(InsufficientFunds):  # then rather an answer now than a reserve for later
                return affordable_output_tokens(
                    prices, input_tokens, wanted, available - self.reserve_usd, read_again=True
                )
        return affordable_output_tokens(prices, input_tokens, wanted, available)

    def _remember(self, request: _Request, response: ModelResponse) -> None:
        measured = response.usage.total_tokens
        self.context_tokens = measured or request.input.at_most + request.max_tokens


def worst_cost_usd(prices: UnitPrices, input_tokens: int, output_tokens: int) -> Decimal:
    """The most that a request can cost, in dollars: beyond the dearest cliff that it can reach, every token dear."""
    most = dearest(prices, input_tokens)
    return most.request_usd + most.input_usd * input_tokens + most.output_usd * output_tokens


def affordable_output_tokens(
    prices: UnitPrices, input_tokens: int, wanted: int, available_usd: Decimal, *, read_again: bool = False
) -> int:
    """How long an answer may be: `wanted`, or as much as the money allows.

    Args:
        prices: of the model.
        input_tokens: the most that the request's input can be.
        wanted: the longest answer that is of use.
        available_usd: what it may cost.
        read_again: whether the money has to pay for the answer as a later request's input, too.

    Raises:
        InsufficientFunds: less than MIN_OUTPUT_TOKENS (or than `wanted`) can be afforded.
    """
    left = available_usd - worst_cost_usd(prices, input_tokens, 0)
    later = dearest(prices, input_tokens + wanted).input_usd if read_again else 0
    each = dearest(prices, input_tokens).output_usd + later
    tokens = wanted if each == 0 else min(wanted, math.floor(left / each))
    if left < 0 or tokens < min(wanted, MIN_OUTPUT_TOKENS):
        raise InsufficientFunds(TOO_LITTLE_LEFT)
    return tokens


def _billing(payer: Payer, request: _Request, received: Callable[[], ModelResponse | None]) -> Billing:
    def bill(error: BaseException | None) -> Bill | None:
        response = received()
        if error is not None and not _has_begun(response):
            if certainly_free(error):
                return None
            wanted = was_stopped(error) and payer.stopped()
            return Bill(request.estimate(None), exact=False, bearer=CUSTOMER if wanted else PLATFORM)
        if response is None:
            return Bill(request.estimate(None), exact=False)
        if _is_measured(response):
            return Bill(measured.quantities(response, request.prices),
                        exact=measured.is_exact(response, request.prices))
        reported = measured.quantities(response, request.prices)
        return Bill(measured.at_least(reported, request.estimate(response)), exact=False)

    return bill


def _has_begun(response: ModelResponse | None) -> bool:
    return response is not None and (bool(response.parts) or response.usage.total_tokens > 0)


def _is_measured(response: ModelResponse) -> bool:
    usage = response.usage
    return response.state == "complete" and usage.input_tokens > 0 and not usage.unmeasured_requests
