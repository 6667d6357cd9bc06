"""`POST /api/chat/start`: a question from a native form, which can give somebody without a session a visitor's one."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from chatapp.accounts import cookies, sessions, sign_in, throttle
from chatapp.accounts.errors import Throttled
from chatapp.billing.entitlements import SpendingRefused
from chatapp.chat import threads
from chatapp.chat.answers import Answers
from chatapp.chat.threads import ChatError
from chatapp.db import now
from chatapp.ids import AccountId
from chatapp.routes.guard import Refusal, client_address, guarded, read_form
from chatapp.services import Services

BODY_LIMIT_BYTES = 256 * 1024
"""A question of the longest kind, percent-encoded."""


def routes(services: Services, answers: Answers) -> list[Route]:
    """The route, bound to the services."""
    settings, db = services.settings, services.db

    async def start(request: Request) -> Response:
        """Field: question. 303 to the new chat; back to the start page where a limit is reached."""
        form = await read_form(request, BODY_LIMIT_BYTES)
        try:
            question = threads.question_text(form.get("question"))
            account_id, token = await account_of(request)
            prompt = await answers.ask(account_id, None, question)
        except ChatError as error:
            raise Refusal(400, "This question cannot be asked", error.text) from error
        except SpendingRefused as refused:
            return redirect("/", {"limit": "1"} if refused.next_step else {})
        response = redirect(f"/chat/{prompt.thread_id}/", {})
        if token:
            cookie = sessions.cookie(token)
            response.set_cookie(cookies.full_name(settings, cookie.name), cookie.value, max_age=cookie.max_age_seconds,
                                path="/", secure=settings.secure_cookies, httponly=True, samesite="lax")
        return response

    async def account_of(request: Request) -> tuple[AccountId, str]:
        """The session's account, or a new visitor's with the token of its session."""
        session = await asyncio.to_thread(sessions.current, db, request.headers.get("cookie"), settings, now())
        if session is not None:
            return session.account_id, ""
        address = client_address(request, settings.trusted_proxies)
        try:
            await asyncio.to_thread(throttle.check, db, settings, "visitor", address, now())
        except Throttled as error:
            raise Refusal(429, "Please wait a little", error.text,
                          {"retry-after": str(int(error.wait_seconds) + 1)}) from error
        made = await asyncio.to_thread(sign_in.start_visitor, db, settings, now(),
                                       request.headers.get("user-agent", ""))
        return made.account_id, made.token

    def redirect(path: str, query: dict[str, str]) -> RedirectResponse:
        target = settings.public_url + path + (f"?{urlencode(query)}" if query else "")
        return RedirectResponse(target, 303, {"cache-control": "no-store"})

    return [Route("/api/chat/start", guarded(settings, start), methods=["POST"])]
