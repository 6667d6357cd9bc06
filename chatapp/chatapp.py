"""The composition root: services, answers, background work, routes, pages. The only place where all of them meet."""

# No postponed annotations here: Reflex evaluates the exception handler's own.

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

import reflex as rx
from reflex_base.event import EventSpec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from chatapp import logs, mail
from chatapp import services as build_services
from chatapp.accounts import sessions, throttle
from chatapp.billing import worker
from chatapp.chat.answers import Answers
from chatapp.db import now
from chatapp.emulation import emulators
from chatapp.routes import auth, billing, chat, health, hooks, stream, webhooks
from chatapp.routes.boundary import Boundary
from chatapp.routes.host import OwnHost
from chatapp.settings import load
from chatapp.state.runtime import Runtime, install
from chatapp.state.tokens import BoundTokens
from chatapp.state.viewer import Gate

log = logging.getLogger(__name__)

RECOVER_SECONDS = 5.0
MAIL_SECONDS = 2.0
CLEAN_SECONDS = 3600.0
CANCEL_SECONDS = 1.0

logs.install()
settings = load()
services = build_services.build(settings)
wake = asyncio.Event()
"""Set when something waits to be delivered, so that the billing worker need not be waited for."""
wake_mail = asyncio.Event()
answers = Answers(services, ended=wake.set)
install(Runtime(services, answers))


@asynccontextmanager
async def background() -> AsyncIterator[None]:
    """Everything that runs beside the requests, once per worker process. Leases make several of them harmless."""
    async with emulators(settings):
        await asyncio.to_thread(services.db.migrate)
        tasks = [
            asyncio.create_task(worker.run(services, wake, alarm=partial(mail.alarm, services)), name="billing"),
            asyncio.create_task(_every(RECOVER_SECONDS, answers.recover), name="recover answers"),
            asyncio.create_task(_every(MAIL_SECONDS, lambda: mail.deliver(services), wake_mail), name="mail"),
            asyncio.create_task(_every(CLEAN_SECONDS, _clean), name="clean"),
        ]
        try:
            yield
        finally:
            await answers.close()
            await _end(tasks)
            await services.close()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: `asyncio.wait_for` loses a cancel that comes together with what it waits for."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)


async def _clean() -> None:
    """Delete sessions that ended and counts of throttling that no longer matter."""
    def work() -> None:
        with services.db.session() as session:
            sessions.sweep(session, now())
            throttle.sweep(session, now())

    await asyncio.to_thread(work)


async def _every(seconds: float, work: Callable[[], Awaitable[object]], wake: asyncio.Event | None = None) -> None:
    """Do the work again and again, and at once when woken. A failure is logged and tried again; it ends nothing."""
    wake = wake or asyncio.Event()
    while True:
        wake.clear()
        try:
            await work()
        except Exception:
            log.exception("Background work failed; it is tried again.")
        with suppress(TimeoutError):  # nobody woke us: the next round is due all the same
            async with asyncio.timeout(seconds):
                await wake.wait()


def _error(exception: Exception) -> EventSpec:
    """The one boundary of event handlers: log under an id, and show that id."""
    error_id = uuid4().hex[:8]
    log.error("An event handler failed (error %s)", error_id, exc_info=exception)
    return rx.toast.error(f"Something went wrong on our side (error {error_id}). Reload the page and try again.")


api = Starlette(routes=[
    *auth.routes(services, trusted_proxies=settings.trusted_proxies),
    *hooks.routes(services, wake_mail=wake_mail.set),
    *webhooks.routes(services, wake.set), *billing.routes(services), *chat.routes(services, answers),
    *stream.routes(services, answers), *health.routes(services),
], middleware=[Middleware(Boundary, settings=settings)])

app = rx.App(
    stylesheets=["/app.css"],
    html_lang="en",
    backend_exception_handler=_error,
    api_transformer=[api, lambda inner: BoundTokens(inner, settings), lambda inner: OwnHost(inner, settings)],
)
app.add_middleware(Gate(), index=0)
app.register_lifespan_task(background)

from chatapp import pages  # noqa: E402 - pages read the runtime that is installed above

pages.add_to(app)
