"""Starts the emulators where vendors are emulated and nobody has started them: a process of its own, over HTTP only."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from chatapp.settings import Settings

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
        await _wait(settings, process)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _wait(settings: Settings, process: Process) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await _answering(settings):
        # Asked once more after the end: it may have given way to the process that another worker started.
        if process.returncode is not None and not await _answering(settings):
            raise RuntimeError(f"The emulators ended with code {process.returncode} before they answered at "
                               f"{settings.emulators_url}; what they said is above. Most likely another program uses "
                               "that port: set EMULATORS_URL to a free one.")
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"The emulators do not answer at {settings.emulators_url} within {START_SECONDS:.0f} "
                               "seconds. Is the machine very busy? Start them alone with: python -m emulators")
        await asyncio.sleep(0.1)


async def _answering(settings: Settings) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            return (await client.get(f"{settings.emulators_url}/health")).status_code == 200
        except httpx.HTTPError:
            return False
