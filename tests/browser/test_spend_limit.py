"""Who reaches their spend limit is led to a higher one, and goes on with the question that was refused."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp
from tests.browser.test_pages import PHONE, assert_fits

pytestmark = pytest.mark.browser


def test_a_reached_limit_is_raised_where_it_is_said_and_the_question_goes_on(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(2000)
    email = steps.new_email()
    steps.sign_up(page, app, email)
    steps.pay_per_use(page)
    steps.ask(page, "What is a heat pump?")
    expect(steps.answers(page)).to_have_count(1)
    steps.wait_for_answer(page)
    menu = steps.open_settings(page)
    expect(menu).to_contain_text("$100")
    page.keyboard.press("Escape")
    with closing(sqlite3.connect(app.database, isolation_level=None, timeout=15)) as database:
        database.execute("UPDATE balance SET spend_limit_nanousd = 1000 WHERE account_id = "
                         "(SELECT account_id FROM profile WHERE email = ?)", (email,))
    steps.ask(page, "And what does it cost?")
    dialog = page.get_by_role("dialog", name="Plans")
    expect(dialog.get_by_role("heading", name="Your spending limit of")).to_be_visible()
    field = dialog.get_by_label("Spending limit per period, in dollars")
    field.fill("ten")
    field.press("Enter")
    expect(dialog).to_contain_text("Write an amount from $1 to $1,000")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("^Write an amount"))
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of the same two keys
    assert_fits(page)
    field.fill("$2")
    field.press("Enter")
    expect(dialog).to_contain_text("Your limit is now $2 per period.")
    expect(dialog.get_by_role("heading", name="Choose how you pay")).to_be_visible()
    expect(dialog).to_contain_text("Now $2,")
    expect(page.locator("#next-price")).to_contain_text(re.compile(r"at most \$1\.9\d", re.IGNORECASE))
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    question = page.get_by_label("Your question")
    expect(question).to_have_value("And what does it cost?")
    page.wait_for_timeout(400)  # a second Enter that comes sooner after the first is taken for the same one
    question.press("Enter")
    expect(steps.answers(page)).to_have_count(2)
    steps.wait_for_answer(page)
    expect(steps.open_settings(page)).to_contain_text("Spending limit$2")


def test_who_pays_nothing_by_use_sees_no_limit(page: Page, app: RunningApp) -> None:
    steps.sign_up(page, app, steps.new_email())
    menu = steps.open_settings(page)
    expect(menu).not_to_contain_text("Spending limit")
    menu.get_by_role("button", name="Plans").click()
    expect(page.get_by_role("dialog", name="Plans")).not_to_contain_text("Spending limit")
