"""A websocket client of Reflex's protocol (engine.io 4, socket.io, namespace `/_event`), that keeps every frame."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets

ROOT = "reflex___state____state"


class Tab:
    """One tab of a browser: a client token, a cookie, a page, and all that the server has sent."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.frames: list[str] = []
        self.page: dict[str, Any] = {"pathname": "/", "asPath": "/", "query": {}}
        self.closed = False
        self._arrived = asyncio.Event()

    @property
    def seen(self) -> str:
        """All frames so far, in one text."""
        return "\n".join(self.frames)

    def visit(self, path: str, **query: str) -> None:
        """Claim to be on this page from the next event on."""
        if not query and path.startswith("/chat/"):
            query = {"thread_id": path.strip("/").rpartition("/")[2]}
        self.page = {"pathname": path, "asPath": path, "query": query}

    async def connect(self, cookie: str = "", *, hydrate: bool = True, **headers: str) -> None:
        """Open the websocket, and load the page unless `hydrate` is False."""
        if cookie:
            headers["Cookie"] = cookie
        self._socket = await websockets.connect(
            f"{self.url.replace('http', 'ws', 1)}/_event/?EIO=4&transport=websocket&token={self.token}",
            additional_headers=headers, max_size=None, compression=None, proxy=None)
        self._reader = asyncio.create_task(self._read())
        event = {"name": f"{ROOT}.hydrate_and_load", "payload": {"vars": {}}, "router_data": self.page}
        await self.raw("40/_event," + json.dumps({"event": event} if hydrate else {}))
        await self.until(lambda tab: any(frame.startswith("40/_event") for frame in tab.frames))

    async def raw(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        await self._socket.send(frame)

    async def event(self, name: str, **payload: object) -> None:
        """Send an event: a full name, or `Class.handler` of one of the app's states as in `chat.Chat.open`."""
        await self.emit("event", {"name": name, "payload": payload, "router_data": self.page})

    async def emit(self, kind: str, *data: object) -> None:
        """Send a socket.io event of any kind."""
        await self.raw("42/_event," + json.dumps([kind, *data]))

    async def until(self, condition: Callable[[Tab], object], seconds: float = 20) -> None:
        """Wait until the condition holds of what has arrived."""
        deadline = time.monotonic() + seconds
        while not condition(self):
            self._arrived.clear()
            left = deadline - time.monotonic()
            assert left > 0, f"it never came to pass; the last frames: {self.seen[-2000:]}"
            assert not self.closed or condition(self), f"the server closed the socket: {self.seen[-500:]}"
            try:
                await asyncio.wait_for(self._arrived.wait(), min(left, 1))
            except TimeoutError:
                continue

    async def settle(self) -> None:
        """Wait until all events sent so far are done: events of one tab are handled one after the other."""
        mark = uuid.uuid4().hex
        self.page = {**self.page, "asPath": f"{self.page['asPath'].partition('?')[0]}?{mark}"}
        await self.event(f"{ROOT}.set_is_hydrated", value=False)
        await self.until(lambda tab: mark in tab.seen, 60)

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                text = frame if isinstance(frame, str) else frame.decode()
                if text == "2":
                    await self._socket.send("3")
                    continue
                self.frames.append(text)
                if text.startswith('42/_event,["new_token"'):
                    self.token = json.loads(text.removeprefix("42/_event,"))[1]
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self.closed = True
        self._arrived.set()


@asynccontextmanager
async def tab(url: str, cookie: str = "", *, token: str = "", path: str = "/", query: dict[str, str] | None = None,
              hydrate: bool = True, headers: dict[str, str] | None = None) -> AsyncIterator[Tab]:
    """A connected tab, closed at the end of the block."""
    opened = Tab(url, token or str(uuid.uuid4()))
    opened.visit(path, **(query or {}))
    await opened.connect(cookie, hydrate=hydrate, **(headers or {}))
    try:
        yield opened
    finally:
        await opened.close()
