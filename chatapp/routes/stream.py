"""The answer as server-sent events, and the pictures that code made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chatapp.accounts import sessions
from chatapp.accounts.sessions import Session
from chatapp.chat import threads
from chatapp.chat.answers import Answers
from chatapp.chat.threads import ChatError, NotFound
from chatapp.db import now
from chatapp.ids import AccountId
from chatapp.services import Services

KEEP_ALIVE_SECONDS = 15.0
EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def routes(
    services: Services, answers: Answers, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
) -> list[Route]:
    """`GET /api/answers/{id}/stream` and `GET /api/figures/{id}`."""

    async def session_of(request: Request) -> Session | None:
        return await asyncio.to_thread(sessions.current, services.db, request.headers.get("cookie"),
                                       services.settings, now())

    async def stream(request: Request) -> Response:
        """The operations of an answer after `Last-Event-ID` (or `?after=`), numbered, until its ending."""
        session = await session_of(request)
        if session is None:
            return _refusal(403, "Sign in to read this chat.")
        after = _number(request.headers.get("last-event-id") or request.query_params.get("after"))
        account_id, message_id = AccountId(session.account_id), request.path_params["message_id"]
        try:
            await asyncio.to_thread(threads.owned_message, services.db, account_id, message_id)
        except NotFound as error:
            return _refusal(404, error.text)
        if request.method == "HEAD":  # who asks for the headers alone need not wait for the answer's end
            return Response(media_type=EVENT_STREAM, headers=STREAM_HEADERS)
        events = _events(answers.follow(account_id, message_id, after), keep_alive_seconds)
        return StreamingResponse(events, media_type=EVENT_STREAM, headers=STREAM_HEADERS)

    async def figure(request: Request) -> Response:
        """A picture, to its owner alone, and never as a page."""
        session = await session_of(request)
        if session is None:
            return _refusal(403, "Sign in to see this figure.")
        try:
            row = await asyncio.to_thread(threads.owned_figure, services.db, AccountId(session.account_id),
                                          request.path_params["figure_id"])
        except ChatError as error:
            return _refusal(404, error.text)
        return Response(row.data, media_type=row.mime, headers={
            "Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox"})

    return [
        Route("/api/answers/{message_id}/stream", stream, methods=["GET"]),
        Route("/api/figures/{figure_id}", figure, methods=["GET"]),
    ]


async def _events(items: AsyncIterator[tuple[int, str]], keep_alive_seconds: float) -> AsyncIterator[str]:
    """Format the items; a comment after so many seconds of silence keeps proxies from closing the connection."""
    pending = asyncio.ensure_future(anext(items))
    try:
        while True:
            done, _ = await asyncio.wait((pending,), timeout=keep_alive_seconds)
            if not done:
                yield ":\n\n"
                continue
            try:
                yield _event(pending.result())
            except StopAsyncIteration:
                return
            pending = asyncio.ensure_future(anext(items))
    finally:
        pending.cancel()


def _event(item: tuple[int, str]) -> str:
    number, data = item
    return f"id:{number}\ndata:{data}\n\n"


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status, headers={"Cache-Control": "no-store"})
