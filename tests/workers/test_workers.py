"""The app as several worker processes over Postgres and Redis: a reader's request may reach any of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp
from tests.browser.conftest import browser as browser
from tests.conftest import free_port

QUESTION = "How do heat pumps compare with gas boilers?"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A Redis of our own, in memory."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed: as root, `make test` installs it by apt.")
    port = free_port()
    process = subprocess.Popen([server, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
                               stdout=subprocess.DEVNULL)
    yield f"redis://localhost:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str) -> Iterator[RunningApp]:
    """Several workers; `reflex run` decides how many, since there is a Redis."""
    running = RunningApp(
        tmp_path_factory.mktemp("app"), DATABASE_URL=postgres_server.replace("+psycopg", ""),
        REFLEX_REDIS_URL=redis_url, GRANIAN_WORKERS="3", EMULATED_TOKENS_PER_SECOND="60",
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def page(browser: Browser, app: RunningApp) -> Iterator[Page]:
    """A tab of somebody who is signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    tab = context.new_page()
    steps.sign_up(tab, app, steps.new_email())
    yield tab
    context.close()


def test_an_answer_is_joined_after_reloads_and_in_a_second_tab_whichever_worker_writes_it(page: Page) -> None:
    _begin(page)
    tab = page.context.new_page()
    tab.goto(page.url)
    for _ in range(4):  # each reload may reach another worker
        page.reload()
        expect(steps.answers(page).last).to_contain_text("Searched")
    first, second = steps.wait_for_answer(page), steps.wait_for_answer(tab)
    expect(first.locator("footer")).to_contain_text("$")
    expect(second.locator("footer")).to_contain_text("$")
    # What a screen reader is told at the end is not there in a tab that was loaded after it.
    texts = [answer.inner_text().replace("Answer complete.", "").split() for answer in (first, second)]
    assert texts[0] == texts[1]


def test_an_answer_is_stopped_from_any_worker(page: Page) -> None:
    _begin(page)
    page.reload()
    page.get_by_role("button", name="Stop").click()
    answer = steps.wait_for_answer(page)
    expect(answer).to_contain_text("You stopped this answer")
    expect(answer).to_contain_text("Searched")


def _begin(page: Page) -> None:
    steps.ask(page, QUESTION)
    page.wait_for_url(re.compile("/chat/"))
    expect(steps.answers(page).last).to_contain_text("Searched", timeout=30_000)
