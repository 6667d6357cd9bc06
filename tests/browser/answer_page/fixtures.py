"""A real Chromium on the page of answers, and what tests say to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.answer_page import Connection, Server, bundle, serving

SOURCES = [
    {"number": at, "title": f"Paper {at}", "url": f"https://www.example.org/{at}", "snippet": f"Says {at}"}
    for at in range(1, 8)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(bundle(tmp_path_factory.mktemp("answer"))) as running:
        yield running


@pytest.fixture
def chromium(browser: Browser) -> Browser:
    """The package's Chromium: a second Playwright in the same process would refuse to start beside it."""
    return browser


@pytest.fixture
def page(server: Server, chromium: Browser) -> Iterator[Page]:
    """An empty page, 375 px wide. Whatever it asks of another host fails the test."""
    context = chromium.new_context(viewport={"width": 375, "height": 800}, permissions=["clipboard-read"])
    page = context.new_page()
    page.set_default_timeout(10_000)
    foreign: list[str] = []
    broken: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((server.url, "data:")) else foreign.append(r.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(server.url)
    page.wait_for_function("window.show !== undefined")
    yield page
    context.close()
    assert foreign == []
    assert broken == []


def show(page: Page, *texts: str, **props: Any) -> None:
    """Show one finished answer of these texts."""
    parts = [{"type": "text", "text": text} for text in texts]
    message = {"messageId": "m", "parts": parts, "sources": [], "status": "done", **props}
    page.evaluate("message => show([message])", message)


def show_program(page: Page, **part: Any) -> None:
    """Show one finished answer that consists of a program with these fields."""
    empty = {"type": "code", "id": "c", "code": "", "status": "done", "output": "", "error": "", "figures": []}
    page.evaluate("parts => show([{messageId: 'm', parts, sources: [], status: 'done'}])", [empty | part])


def follow(page: Page, server: Server, name: str, *connections: Connection) -> None:
    """Show one answer that follows the stream `name`."""
    server.scripts[name] = list(connections)
    server.requests[name].clear()
    show(page, src=f"/stream/{name}")


def texts(*deltas: str, first: int = 1) -> list[tuple[int, dict[str, Any]] | str]:
    return [(first + at, delta) for at, delta in enumerate(deltas)]
