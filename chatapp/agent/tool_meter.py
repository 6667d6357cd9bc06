"""The meter around the paid tools, and what winds a turn down while there is still money for an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.capabilities.abstract import WrapToolExecuteHandler
from pydantic_ai.messages import InstructionPart, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition

from chatapp.agent import bounds, history
from chatapp.agent.errors import was_stopped
from chatapp.agent.meter import MIN_OUTPUT_TOKENS, worst_cost_usd
from chatapp.agent.payer import Bill, Billing, Order, Payer, paid, place
from chatapp.agent.prompt import NO_TOOLS_LEFT
from chatapp.agent.run import MAX_REQUESTS, MAX_TOOL_CALLS, Run
from chatapp.agent.tools import Outcome, refused
from chatapp.billing.hold_rows import PLATFORM
from chatapp.billing.holds import InsufficientFunds, PlacedHold

NO_MONEY = "What this question may cost does not allow another call of this tool."
REPORTED = {"calls": 1}
"""What is counted of a call whose cost the vendor reports."""
NO_CALLS = "This question has used all of its tool calls."


@dataclass
class ToolMeter(AbstractCapability[Run]):
    """Every call of a tool is hold → call → settle, with a static cap."""

    async def prepare_tools(self, ctx: RunContext[Run], tool_defs: list[ToolDefinition]) -> list[ToolDefinition]:
        """Offer the tools that still fit: this request, the call and an answer after it.

        Once a tool has been withdrawn, all are, for the rest of the turn: the next thing to come is the answer.
        """
        run = ctx.deps
        if ctx.run_step >= MAX_REQUESTS or run.tool_calls >= MAX_TOOL_CALLS:
            run.winding_down = True
        if not run.winding_down:
            tool_defs = [_described(run, tool) for tool in tool_defs]
            reserve = max((run.order(tool.name).bound_cost_usd for tool in tool_defs), default=Decimal(0))
            context = bounds.input_bound(
                ctx.messages, sum(map(bounds.tool_bytes, tool_defs)), run.meter.model_name
            ).at_most
            reserve += run.answer_cost_usd(context + MIN_OUTPUT_TOKENS)
            now = worst_cost_usd(run.meter.prices(), context, MIN_OUTPUT_TOKENS)
            run.winding_down = await run.payer.affordable_cost_usd() < now + reserve
            run.meter.reserve_usd = reserve
        if run.winding_down:
            run.meter.reserve_usd = Decimal(0)
            return []
        return tool_defs

    async def before_model_request(
        self, ctx: RunContext[Run], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Tell the model when there are no tools any more."""
        if ctx.deps.winding_down:
            parameters = request_context.model_request_parameters
            parts = [*(parameters.instruction_parts or ()), InstructionPart(content=NO_TOOLS_LEFT, dynamic=True)]
            request_context.model_request_parameters = replace(parameters, instruction_parts=parts)
        return request_context

    async def after_model_request(
        self, ctx: RunContext[Run], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Mend what no database and no vendor takes, before it is acted upon, kept and sent again."""
        return history.storable_response(response)

    async def wrap_tool_execute(
        self, ctx: RunContext[Run], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:  # noqa: ANN401 - as the base class has it
        """Pay for the call. A call that does not fit is not made, and the model is told so."""
        run = ctx.deps
        order = run.order(call.tool_name)
        hold = await _place(run, order)
        if isinstance(hold, ToolReturn):
            return hold
        outcomes: list[Outcome] = []
        async with paid(run.payer, hold, bill=_billing(run.payer, order, outcomes), estimate=lambda: order.bound):
            result = await handler(args)
            if isinstance(result, ToolReturn) and isinstance(result.metadata, Outcome):
                outcomes.append(result.metadata)
        return result


async def _place(run: Run, order: Order) -> PlacedHold | ToolReturn:
    """The hold for a call, or the result of a call that is not made. Parallel calls come here one after another."""
    async with run.placing:
        if run.tool_calls >= MAX_TOOL_CALLS:
            return refused(NO_CALLS)
        needed = order.bound_cost_usd + run.answer_cost_usd(run.meter.context_tokens)
        if await run.payer.affordable_cost_usd() < needed:
            return refused(NO_MONEY)
        try:
            hold = await place(run.payer, order)
        except InsufficientFunds:  # another turn of the account was faster
            return refused(NO_MONEY)
        run.expect_result()
        return hold


def _billing(payer: Payer, order: Order, outcomes: list[Outcome]) -> Billing:
    """What the vendor said it costs, costs that; what was never carried out is free; all else costs the cap.

    A call that brought nothing, and may have cost something, is the platform's, unless the person stopped it.
    """

    def bill(error: BaseException | None) -> Bill | None:
        cap = Bill(order.bound, exact=order.bound_cost_usd == 0, cost_usd=order.bound_cost_usd)
        if not outcomes:
            wanted = error is None or (was_stopped(error) and payer.stopped())
            return cap if wanted else replace(cap, bearer=PLATFORM)
        outcome = outcomes[0]
        if not outcome.sent:
            return None
        if outcome.cost_usd is not None:
            used = outcome.quantities or REPORTED
            return Bill(used, exact=True, cost_usd=outcome.cost_usd, failed=outcome.error is not None)
        unknown = replace(cap, exact=False)
        return unknown if outcome.error is None else replace(unknown, failed=True, bearer=PLATFORM)

    return bill


def _described(run: Run, tool: ToolDefinition) -> ToolDefinition:
    """The tool with what the sandbox at hand offers."""
    if tool.name != "run_code":
        return tool
    return replace(tool, description=f"{tool.description}\n\n{run.deps.code_runner.instructions}")
