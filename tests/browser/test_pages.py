"""What every page owes the person in front of it: it fits, it answers the keyboard, and it keeps what was typed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp

pytestmark = pytest.mark.browser

PHONE = {"width": 375, "height": 740}
WIDE = {"width": 1280, "height": 800}
QUESTION = "How do heat pumps compare with gas boilers?"
PLOT = "Plot how $1,000 grows at 5 % a year for 30 years"


def assert_fits(page: Page) -> None:
    """Nothing makes the page scroll sideways."""
    wide = page.evaluate("""() => [...document.querySelectorAll('main, main *')]
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.answer-scroll, pre, .katex'))
        .map((e) => e.outerHTML.slice(0, 120))""")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], (page.url, wide[:3])


def test_no_page_is_wider_than_a_phone(page: Page, app: RunningApp) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of the same two keys
    for path, heading in (
        ("/", "What do you want to know?"), ("/sign-in/?error=invalid_credentials", "Sign in"),
        ("/sign-up/?error=password_short", "Sign up"), ("/new-password/", "Choose a new password"),
        ("/new-password/?step=choose", "Choose a new password"), ("/check-mail/?for=signup", "Check your mail"),
        ("/auth/confirm/?token_hash=x&type=email", "One more click"), ("/auth/confirm/?error=otp_expired", "One more"),
        ("/checkout/cancelled/", "Nothing was paid"), ("/checkout/success/", "Thank you"),
        (f"/chat/{uuid.uuid4()}/", "This chat is not here"), ("/nowhere/", "This page does not exist"),
    ):
        page.goto(app.url + path)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert_fits(page)


def test_code_tables_and_long_words_scroll_within_themselves(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of the same two keys
    steps.begin_chat(page, app, f"{PLOT} {'unbroken' * 30}")
    expect(page.locator("article .answer-plot")).to_be_visible(timeout=30_000)
    assert_fits(page)
    pace(2000)
    steps.wait_for_answer(page)
    assert_fits(page)
    page.get_by_role("button", name="Your chats").click()
    drawer = page.get_by_role("navigation", name="Chats")
    drawer.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("heading", name="What do you want to know?")).to_be_visible()
    expect(drawer).to_be_hidden()


def test_a_question_is_asked_without_a_mouse(page: Page, app: RunningApp, pace: Callable[[int], None]) -> None:
    pace(2000)
    page.goto(app.url)
    field = page.get_by_label("Your question")
    expect(field).to_be_focused()
    page.get_by_role("link", name="Skip to the question").focus()
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Be brief.")
    expect(field).to_have_value(f"{QUESTION}\nBe brief.")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/chat/"))
    expect(steps.answers(page)).to_have_count(1)
    steps.wait_for_answer(page)
    expect(page).to_have_title(re.compile(r"^How do heat pumps .* · chatapp$"))
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    _settings_open_and_close_by_keyboard(page)
    page.get_by_role("link", name="New chat").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_title("chatapp")
    expect(field).to_be_focused()


def _settings_open_and_close_by_keyboard(page: Page) -> None:
    button = page.get_by_role("button", name="Settings")
    button.focus()
    page.keyboard.press("Enter")
    menu = page.get_by_role("dialog", name="Settings")
    expect(menu).to_be_visible()
    page.keyboard.press("Tab")
    assert menu.evaluate("menu => menu.contains(document.activeElement)")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(button).to_be_focused()


def test_a_visitors_three_questions_are_theirs_after_signing_up(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(2000)
    steps.begin_chat(page, app, QUESTION)
    steps.wait_for_answer(page)
    for count in (2, 3):
        steps.ask(page, f"And question {count}?")
        expect(steps.answers(page)).to_have_count(count)
        steps.wait_for_answer(page)
    steps.ask(page, "And a fourth?")
    dialog = page.get_by_role("dialog", name="Plans")
    expect(dialog).to_contain_text("3 questions")
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Your question")).to_be_focused()
    expect(page.get_by_label("Your question")).to_have_value("And a fourth?")
    steps.sign_up(page, app, steps.new_email())
    page.get_by_role("navigation", name="Chats").get_by_role("link", name=QUESTION).click()
    expect(steps.answers(page)).to_have_count(3)


def test_an_error_stands_beside_its_field_and_what_was_typed_stays(page: Page, app: RunningApp) -> None:
    email = steps.new_email()
    page.goto(f"{app.url}/sign-up/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Name").fill("Zoë & Co. = 100 %")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Sign up").click()
    password = page.get_by_label("Password")
    expect(password).to_be_focused()
    expect(password).to_have_accessible_description(re.compile("at least 8 characters"))
    expect(password).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("E-mail address")).to_have_value(email)
    expect(page.get_by_label("Name")).to_have_value("Zoë & Co. = 100 %")
    page.goto(f"{app.url}/sign-in/")
    expect(page.get_by_label("E-mail address")).to_have_value(email)
    page.get_by_label("Password").fill(steps.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    expect(page.get_by_label("E-mail address")).to_have_value(email)


def test_an_unknown_address_and_anothers_chat_lead_back(
    page: Page, context: BrowserContext, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(2000)
    steps.begin_chat(page, app, QUESTION)
    chat = page.url
    context.clear_cookies()
    page.goto(chat)
    expect(page.get_by_role("heading", name="This chat is not here")).to_be_visible()
    assert QUESTION not in page.content()
    answer = page.goto(f"{app.url}/no/such/page/")
    assert answer is not None
    assert answer.status == 404
    page.get_by_role("link", name="To the chat").click()
    expect(page.get_by_role("heading", name="What do you want to know?")).to_be_visible()


def test_a_payer_reads_what_a_question_will_cost_and_nothing_moves_for_it(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(2000)
    steps.sign_up(page, app, steps.new_email())
    field, price = page.get_by_label("Your question"), page.locator("#next-price")
    before = _places_of_the_composer(page)
    for number in range(1, 4):
        steps.ask(page, f"And question {number}?")
        expect(steps.answers(page)).to_have_count(number)
        steps.wait_for_answer(page)
    expect(price).to_have_count(0)
    steps.pay_per_use(page)
    expect(price).to_have_text(re.compile(r"Usually about \$0\.\d+, at most \$6\.00$"))
    expect(field).to_have_accessible_description(re.compile("^Price of a question: Usually about"))
    page.goto(app.url)
    expect(price).to_be_visible()
    assert _places_of_the_composer(page) == before
    usual = price.inner_text()
    for number in range(4, 8):  # dearer than those before, so that the median goes up
        steps.ask(page, f"Plot how ${number},000 grows at 5 % a year for 30 years")
        expect(steps.answers(page)).to_have_count(number - 3)
        steps.wait_for_answer(page)
    expect(price).not_to_have_text(usual)


def _places_of_the_composer(page: Page) -> list[list[float]]:
    """Where the field and the line below it are, at 1280 and at 375 pixels."""
    places = []
    for size in (PHONE, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]  # a TypedDict of the same two keys
        places.append(page.evaluate("""() => ['.composer', '.composer .ask', '.composer .under'].flatMap((part) => {
            const box = document.querySelector(part).getBoundingClientRect();
            return [box.top, box.height];
        })"""))
    return places
