"""Every page under axe-core, in light and in dark: no violation that it calls serious or critical."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp

pytestmark = pytest.mark.browser


def assert_accessible(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        grave = [(each["id"], [node["html"][:150] for node in each["nodes"]])
                 for each in found if each["impact"] in ("serious", "critical")]
        assert grave == [], (page.url, scheme)


def test_the_pages_of_an_account_have_no_grave_fault(page: Page, app: RunningApp) -> None:
    for path in ("/sign-in/?error=invalid_credentials", "/sign-up/?error=password_short", "/new-password/",
                 "/check-mail/", "/auth/confirm/?error=otp_expired", "/checkout/cancelled/", "/checkout/success/",
                 "/chat/none/", "/nowhere/"):
        page.goto(app.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert_accessible(page)


def test_an_answer_the_menus_and_the_dialog_have_no_grave_fault(page: Page, app: RunningApp) -> None:
    page.goto(app.url)
    assert_accessible(page)
    steps.ask(page, "Plot how $1,000 grows at 5 % a year for 30 years")
    page.wait_for_url(re.compile("/chat/"))
    expect(steps.answers(page)).to_have_count(1)
    steps.wait_for_answer(page)
    expect(page.locator("article footer")).to_be_visible()
    assert_accessible(page)
    steps.open_settings(page)
    assert_accessible(page)
    page.keyboard.press("Escape")
    steps.sign_up(page, app, steps.new_email())
    steps.open_settings(page).get_by_role("button", name="Plans").click()
    expect(page.get_by_role("dialog", name="Plans")).to_be_visible()
    assert_accessible(page)
