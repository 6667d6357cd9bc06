"""What a person does, step by step, in the words of the page."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import Locator, Page, expect

from tests.browser.app import RunningApp

PASSWORD = "correct horse battery staple"


def new_email() -> str:
    return f"person-{uuid.uuid4().hex[:10]}@example.org"


def sign_up(page: Page, app: RunningApp, email: str) -> None:
    """Fill in the form, open the mail in the inbox, click its link, confirm."""
    page.goto(f"{app.url}/sign-up/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    page.goto(link_in_mail(page, app, email))
    page.get_by_role("button", name="Confirm and go on").click()
    expect(page.get_by_role("heading", name="What do you want to know?")).to_be_visible()
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_have_count(0)


def link_in_mail(page: Page, app: RunningApp, email: str) -> str:
    """Wait for the mail in the emulated inbox; the address of its button."""
    for _ in range(100):
        mails = app.emulator("GET", "/resend/_emulator/inbox", params={"to": email})["data"]
        if mails:
            found = re.search(r'href="([^"]*token_hash[^"]*)"', mails[0]["html"])
            assert found, mails[0]["html"]
            return found.group(1).replace("&amp;", "&")
        page.wait_for_timeout(100)
    raise AssertionError(f"No mail arrived for {email}.")


def sign_in(page: Page, app: RunningApp, email: str) -> None:
    page.goto(f"{app.url}/sign-in/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="What do you want to know?")).to_be_visible()


def sign_out(page: Page) -> None:
    open_settings(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()


def pay_per_use(page: Page) -> None:
    """Choose the plan in the settings menu, pay at Polar, and come back to a new chat."""
    open_settings(page).get_by_role("button", name="Plans").click()
    page.get_by_role("dialog", name="Plans").get_by_role("button", name="Choose pay per use").click()
    page.wait_for_url(re.compile("/polar/"))
    page.get_by_role("button", name=re.compile("pay|subscribe", re.IGNORECASE)).click()
    page.wait_for_url(re.compile("/checkout/success/"))
    expect(page.get_by_text("Your plan is now")).to_contain_text("Pay per use", timeout=30_000)
    page.get_by_role("link", name="Go on asking").click()


def open_settings(page: Page) -> Locator:
    page.get_by_role("button", name="Settings").click()
    menu = page.get_by_role("dialog", name="Settings")
    expect(menu).to_be_visible()
    return menu


def ask(page: Page, question: str) -> None:
    """Type a question and press Enter."""
    field = page.get_by_label("Your question")
    field.fill(question)
    field.press("Enter")


def begin_chat(page: Page, app: RunningApp, question: str) -> None:
    """Ask on the start page and wait until the chat's own page shows the answer, begun or finished."""
    page.goto(app.url)
    ask(page, question)
    page.wait_for_url(re.compile(r"/chat/[0-9a-f-]{36}/"))
    expect(answers(page)).to_have_count(1)


def wait_for_answer(page: Page) -> Locator:
    """The last answer, once it has ended and is drawn."""
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible(timeout=60_000)
    expect(answers(page).last).not_to_have_attribute("data-status", "streaming")
    return drawn(page)


def drawn(page: Page) -> Locator:
    """The last answer, once what is in sight of it is drawn.

    A finished answer is skipped while it is out of sight (content-visibility), and until the next frame has told
    whether it is: what is asked of it in between finds no text.
    """
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return answers(page).last


def answers(page: Page) -> Locator:
    return page.locator("article")


def price_of(answer: Locator) -> str:
    """The price at the foot of an answer, such as `$0.0042`."""
    found = re.search(r"\$\d[\d,]*\.?\d*", answer.locator("footer").inner_text())
    assert found, answer.inner_text()
    return found.group(0)
