"""The app with everything emulated, Daytona too, and a person who pays per use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp
from tests.browser.conftest import browser as browser
from tests.chaos.books import Books


@dataclass(frozen=True)
class Person:
    """Somebody who pays per use, with a browser of their own."""

    app: RunningApp
    context: BrowserContext
    books: Books

    def ask(self, question: str) -> Page:
        """Ask in a new chat, in a new tab."""
        tab = self.context.new_page()
        tab.goto(self.app.url)
        steps.ask(tab, question)
        tab.wait_for_url(re.compile(r"/chat/[0-9a-f-]{36}/"))
        return tab


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    running = RunningApp(tmp_path_factory.mktemp("app"), DAYTONA_API_KEY="dtn_emulated")
    running.environment["DAYTONA_URL"] = f"{running.emulators_url}/daytona/api"
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def person(app: RunningApp, browser: Browser) -> Iterator[Person]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    page, email = context.new_page(), steps.new_email()
    steps.sign_up(page, app, email)
    steps.open_settings(page).get_by_role("button", name="Plans").click()
    page.get_by_role("dialog", name="Plans").get_by_role("button", name="Choose pay per use").click()
    page.wait_for_url(re.compile("/polar/"))
    page.get_by_role("button", name=re.compile("pay|subscribe", re.IGNORECASE)).click()
    expect(page.get_by_text("Your plan is now")).to_contain_text("Pay per use", timeout=30_000)
    page.close()
    account_id = app.query("SELECT account_id FROM profile WHERE email = ?", email)[0]["account_id"]
    yield Person(app, context, Books(app, account_id))
    context.close()
