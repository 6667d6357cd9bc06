"""The emulators' composition root: one Starlette application, one vendor below each prefix, the console at the root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from emulators import console, daytona, llm, polar, resend, supabase, valyu
from emulators.clock import Clock
from emulators.config import Config
from emulators.faults import FaultMiddleware, Faults
from emulators.store import Store
from emulators.world import World


def build(config: Config) -> Starlette:
    """Make the application. Opens the SQLite file; background deliveries start with the lifespan."""
    store = Store(config.database)
    world = World(config, store, Clock(store), Faults(store))
    vendors = {
        "supabase": supabase,
        "polar": polar,
        "resend": resend,
        "valyu": valyu,
        "daytona": daytona,
        "llm": llm,
    }
    routes: list[BaseRoute] = [
        Mount(f"/{name}", FaultMiddleware(Starlette(routes=module.routes(world)), faults=world.faults, vendor=name))
        for name, module in vendors.items()
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for module in vendors.values():
                if background := getattr(module, "background", None):
                    await stack.enter_async_context(background(world))
            yield
        store.close()

    return Starlette(routes=[*routes, *console.routes(world)], lifespan=lifespan)
