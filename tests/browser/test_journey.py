"""The whole way once, as a stranger walks it: sign up, ask, reach the limit, pay, go on, come back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from chatapp.billing.money import format_usd
from tests.browser import steps
from tests.browser.app import RunningApp

pytestmark = pytest.mark.browser

QUESTION = "How do heat pumps compare with gas boilers?"


def test_a_stranger_signs_up_asks_reaches_the_limit_pays_and_comes_back(
    page: Page, context: BrowserContext, app: RunningApp
) -> None:
    email = steps.new_email()
    steps.sign_up(page, app, email)
    _the_answer_streams_and_survives_a_reload(page, app)
    first_chat = page.url
    _the_sixth_question_of_the_day_opens_the_dialog(page)
    _paying_changes_the_plan_by_itself(page)
    account_id = _account_of(app, email)
    _usage_shown_ledger_and_polar_agree(page, app, account_id)
    page.goto(first_chat)
    expect(steps.answers(page)).to_have_count(5)
    steps.ask(page, "And what do they cost over ten years?")
    expect(steps.answers(page)).to_have_count(6)
    assert steps.price_of(steps.wait_for_answer(page)) != "$0.00"
    steps.sign_out(page)
    expect(page.get_by_role("navigation", name="Chats")).not_to_contain_text("heat pumps")
    steps.sign_in(page, app, email)
    page.get_by_role("navigation", name="Chats").get_by_role("link", name=QUESTION).click()
    expect(steps.answers(page)).to_have_count(6)
    expect(steps.open_settings(page)).to_contain_text("Pay per use")
    _usage_shown_ledger_and_polar_agree(page, app, account_id)
    assert "Traceback" not in app.log


def _the_answer_streams_and_survives_a_reload(page: Page, app: RunningApp) -> None:
    app.emulator("POST", "/llm/_emulator/pace", json={"tokens_per_second": 40})
    steps.ask(page, QUESTION)
    page.wait_for_url(re.compile(r"/chat/[0-9a-f-]{36}/"))
    answer = steps.answers(page).last
    expect(answer).to_contain_text("Searched", timeout=30_000)
    page.wait_for_function("document.querySelector('article').innerText.length > 300")
    before = answer.inner_text()
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    app.emulator("POST", "/llm/_emulator/pace", json={"tokens_per_second": 400})
    answer = steps.wait_for_answer(page)
    assert len(answer.inner_text()) > len(before)
    expect(answer.get_by_role("link", name=re.compile("^Source 1")).first).to_be_visible()
    assert steps.price_of(answer) != "$0.00"
    expect(answer).to_contain_text("included in Free")


def _the_sixth_question_of_the_day_opens_the_dialog(page: Page) -> None:
    for number in range(2, 6):
        steps.ask(page, f"And question {number}: what about their noise?")
        expect(steps.answers(page)).to_have_count(number)
        steps.wait_for_answer(page)
    steps.ask(page, "And one question more?")
    dialog = page.get_by_role("dialog", name="Plans")
    expect(dialog).to_contain_text("5 questions")
    expect(dialog).to_contain_text("UTC")
    expect(dialog.get_by_role("link", name="Become a Valyu customer")).to_be_visible()
    expect(dialog.get_by_role("button", name="Choose unlimited")).to_be_visible()
    expect(page.get_by_label("Your question")).to_have_value("And one question more?")
    expect(steps.answers(page)).to_have_count(5)


def _paying_changes_the_plan_by_itself(page: Page) -> None:
    page.get_by_role("dialog", name="Plans").get_by_role("button", name="Choose pay per use").click()
    page.wait_for_url(re.compile("/polar/"))
    page.get_by_role("button", name=re.compile("pay|subscribe", re.IGNORECASE)).click()
    page.wait_for_url(re.compile("/checkout/success/"))
    expect(page.get_by_text("Your plan is now")).to_contain_text("Pay per use", timeout=30_000)
    page.get_by_role("link", name="Go on asking").click()
    steps.ask(page, "Plot how $1,000 grows at 5 % a year for 30 years")
    page.wait_for_url(re.compile("/chat/"))
    expect(steps.answers(page)).to_have_count(1)
    answer = steps.wait_for_answer(page)
    expect(answer).to_contain_text("Ran Python")
    expect(answer.locator("footer")).not_to_contain_text("included")


def _account_of(app: RunningApp, email: str) -> str:
    return str(app.query("SELECT account_id FROM profile WHERE email = ?", email)[0]["account_id"])


def _usage_shown_ledger_and_polar_agree(page: Page, app: RunningApp, account_id: str) -> None:
    rows = app.query("SELECT charge_nanousd FROM usage_event WHERE account_id = ? AND billable", account_id)
    ledger_nanousd = sum(row["charge_nanousd"] for row in rows)
    assert ledger_nanousd > 0
    page.reload()
    menu = page.get_by_role("dialog", name="Settings")
    if not menu.is_visible():
        steps.open_settings(page)
    expect(menu.locator("#used-this-period")).to_contain_text(format_usd(ledger_nanousd))
    page.keyboard.press("Escape")
    for _ in range(100):
        if _polar_quantity(app, account_id) * 1000 == ledger_nanousd:
            return
        page.wait_for_timeout(100)
    assert _polar_quantity(app, account_id) * 1000 == ledger_nanousd


def _polar_quantity(app: RunningApp, account_id: str) -> Decimal:
    """The meter's quantity of this customer in micro-dollars, as Polar's API tells it."""
    headers = {"Authorization": "Bearer polar_oat_emulated"}
    meter = app.emulator("GET", "/polar/v1/meters/", headers=headers)["items"][0]
    now, day = datetime.now(UTC), timedelta(days=1)
    answer = app.emulator("GET", f"/polar/v1/meters/{meter['id']}/quantities", headers=headers, params={
        "start_timestamp": (now - day).isoformat(), "end_timestamp": (now + day).isoformat(),
        "interval": "day", "external_customer_id": account_id})
    return Decimal(str(answer["total"]))
