"""People who pay per use: they sign up by the forms, read their mail, and pay on Polar's page.

Each has a browser of their own, which is a cookie and an address; what a kill cuts short they do once more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from chaos.house import House

PASSWORD = "correct horse battery staple"  # noqa: S105 - of people who exist for an hour
CARD = "4242 4242 4242 4242"
PAUSE_SECONDS = 0.5
JOIN_SECONDS = 300.0
_LINK = re.compile(r'href="([^"]*token_hash[^"]*)"')


class Person:
    """One person and their browser."""

    def __init__(self, house: House, number: int) -> None:
        self.number = number
        self.email = f"person-{number}@example.org"
        self._house = house
        self._browser = httpx.AsyncClient(timeout=20, trust_env=False, headers={
            "origin": house.url, "x-forwarded-for": f"10.0.{number // 250}.{number % 250 + 1}"})

    async def join(self) -> None:
        """Sign up, confirm, choose pay per use, pay. Returns once the app shows the plan."""
        async with asyncio.timeout(JOIN_SECONDS):
            await self._until(self._signed_up)
            await self._until(self._confirmed)
            await self._until(self._subscribed)

    async def ask(self, question: str) -> httpx.Response:
        """Ask in a new chat: 303 to it, or to the start page where a limit is reached; 400 with too many at once."""
        return await self.post("/api/chat/start", question=question)

    async def post(self, path: str, **form: str) -> httpx.Response:
        """Send one of the app's forms."""
        return await self._browser.post(f"{self._house.url}{path}", data=form)

    async def close(self) -> None:
        """Close the browser."""
        await self._browser.aclose()

    async def _until(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Try a step until it is done: the app may be dead, the vendor out, the answer lost."""
        while True:
            try:
                if await step():
                    return
            except httpx.HTTPError:
                pass  # somebody did not answer, or answered badly: once more
            await asyncio.sleep(PAUSE_SECONDS)

    async def _signed_up(self) -> bool:
        if await self._mails():
            return True
        answer = await self.post("/api/auth/sign-up", email=self.email, password=PASSWORD, name=f"Person {self.number}")
        return answer.status_code == 303 and "/check-mail/" in answer.headers["location"]

    async def _confirmed(self) -> bool:
        """Follow the mail's link; where it was used by an attempt whose answer never came, sign in."""
        for mail in await self._mails():
            if found := _LINK.search(mail["html"]):
                fields = dict(parse_qsl(urlsplit(unescape(found[1])).query))
                await self.post("/api/auth/confirm", **fields)
                if await self._plan() is None:
                    await self.post("/api/auth/sign-in", email=self.email, password=PASSWORD)
                return await self._plan() is not None
        return False

    async def _subscribed(self) -> bool:
        """Begin a checkout (which asks Polar what is bought already), and pay on its page."""
        if await self._plan() == "pay_per_use":
            return True
        answer = await self.post("/api/billing/checkout", plan="pay_per_use")
        page = answer.headers.get("location", "")
        if "/polar/checkout/" in page:
            await self._browser.post(page, data={"email": self.email, "name": f"Person {self.number}", "card": CARD})
        for _ in range(10):
            if await self._plan() == "pay_per_use":
                return True
            await asyncio.sleep(0.3)
        return False

    async def _plan(self) -> str | None:
        """The plan that the app shows; None without a session."""
        answer = await self._browser.get(f"{self._house.url}/api/billing/status")
        return str(answer.json()["plan"]) if answer.status_code == 200 else None

    async def _mails(self) -> list[dict[str, Any]]:
        found = await self._house.emulator("GET", "/resend/_emulator/inbox", params={"to": self.email})
        return list(found["data"])
