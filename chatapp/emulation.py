"""Starts the emulators where vendors are emulated and nobody has started them: a process of its own, over HTTP only."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from chatapp.settings import Settings

log = logging.getLogger(__name__)

START_SECONDS = 20.0


@asynccontextmanager
async def emulators(settings: Settings) -> AsyncIterator[None]:
    """Make sure that the emulators answer while the app runs; end them with it if they were started here.

    Does nothing when no vendor is emulated, which is always so in production. Several workers may try at once: only
    one process gets the port, and all use it.
    """
    if not settings.emulated or await _answering(settings):
        yield
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulators",
        env={**os.environ, "EMULATORS_URL": settings.emulators_url, "API_URL": settings.api_url,
             "PUBLIC_URL": settings.public_url},
    )
    try:
        await _wait(settings)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _wait(settings: Settings) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await _answering(settings):
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"The emulators do not answer at {settings.emulators_url}. "
                               "Is another program using that port? Set EMULATORS_URL to a free one.")
        await asyncio.sleep(0.1)


async def _answering(settings: Settings) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            return (await client.get(f"{settings.emulators_url}/health")).status_code == 200
        except httpx.HTTPError:
            return False
