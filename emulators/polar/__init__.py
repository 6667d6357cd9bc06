"""A stateful stand-in for Polar (API version 2026-10): one organization, billing included, webhooks delivered.

What it models and what it leaves out: customers, meters, products, benefits, events, checkouts, subscriptions,
orders, sessions and webhooks are kept, and billed as the real service bills. There are no discounts, refunds, taxes,
trials, seats, teams, files or metrics. The customer's state is late by design, see `state`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from emulators.polar import (
    benefits,
    billing,
    checkout_page,
    checkouts,
    context,
    customers,
    deliveries,
    events,
    meters,
    orders,
    portal,
    products,
    sessions,
    state,
    subscriptions,
    survey,
    usage,
    webhooks,
)
from emulators.polar.http import Api
from emulators.polar.settings import Settings

if TYPE_CHECKING:
    from emulators.world import World

__all__ = ["Settings", "advance_to_period_end", "background", "cycle", "overview", "routes"]


def routes(world: World, settings: Settings | None = None) -> list[BaseRoute]:
    """All routes, to be mounted at `/polar`: the API below `/v1`, the checkout page, the portal, the emulator's own."""
    polar = context.of(world, settings)
    with world.store.transaction():
        webhooks.ensure_preconfigured(polar)
    api = Api(polar)
    nouns = (state, customers, meters, products, benefits, events, usage, checkouts, sessions, subscriptions, orders,
             webhooks)
    listed: list[BaseRoute] = [route for noun in nouns for route in noun.routes(api)]
    return [*listed, *checkout_page.routes(polar), *portal.routes(polar), *survey.routes(polar)]


@asynccontextmanager
async def background(world: World) -> AsyncIterator[None]:
    """Deliver webhooks and renew subscriptions for as long as the context is open."""
    polar = context.of(world)
    polar.listen(asyncio.get_running_loop())
    task = asyncio.create_task(deliveries.run(polar))
    try:
        yield
    finally:
        polar.listen(None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def overview(world: World) -> dict[str, Any]:
    """What the console shows, see `survey.overview`."""
    return survey.overview(context.of(world))


def cycle(world: World) -> None:
    """Do everything that the clock says is due: call it after moving the clock."""
    polar = context.of(world)
    billing.cycle(polar)
    polar.rouse()


def advance_to_period_end(world: World, subscription_id: str | None = None) -> None:
    """Move the clock past the end of that subscription's period, or of the one that ends first, and bill."""
    survey.advance_to_period_end(context.of(world), subscription_id)
