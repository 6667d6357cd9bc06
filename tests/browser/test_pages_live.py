"""An answer in the making, as the person sees it: from two tabs, stopped, scrolled, with vendors or the server gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import steps
from tests.browser.app import RunningApp

pytestmark = pytest.mark.browser

QUESTION = "How do heat pumps compare with gas boilers?"


def test_a_second_tab_and_a_reload_join_an_answer_in_its_middle(
    page: Page, context: BrowserContext, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(40)
    steps.begin_chat(page, app, QUESTION)
    page.wait_for_function("document.querySelector('article').innerText.length > 150")
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("button", name="Stop")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    pace(2000)
    first, second = steps.wait_for_answer(page), steps.wait_for_answer(other)
    expect(first.locator("footer")).to_contain_text("$")
    expect(second.locator("footer")).to_contain_text("$")
    assert first.locator(".answer-text").all_inner_texts() == second.locator(".answer-text").all_inner_texts()


def test_a_stopped_answer_keeps_what_had_arrived_and_its_price(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(20)
    steps.begin_chat(page, app, QUESTION)
    page.wait_for_function("document.querySelector('article').innerText.length > 150")
    page.get_by_role("button", name="Stop").click()
    answer = steps.wait_for_answer(page)
    expect(answer).to_contain_text("You stopped this answer.")
    expect(answer.locator("footer")).to_contain_text("$")
    expect(page.get_by_label("Your question")).to_be_focused()
    pace(2000)
    page.reload()
    page.get_by_label("Your question").fill("Typed in the meantime")
    page.get_by_role("button", name="Ask again").dblclick()
    expect(steps.answers(page)).to_have_count(2)
    expect(steps.wait_for_answer(page)).to_have_attribute("data-status", "done")
    expect(page.get_by_role("group", name="You asked")).to_have_text([QUESTION, QUESTION])
    expect(page.get_by_role("button", name="Ask again")).to_have_count(0)
    expect(page.get_by_label("Your question")).to_have_value("Typed in the meantime")


def test_the_reader_who_scrolled_up_is_left_alone_while_the_answer_grows(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    page.set_viewport_size({"width": 375, "height": 420})
    pace(60)
    steps.begin_chat(page, app, QUESTION)
    below = "(() => { const box = document.querySelector('.scroll'); return box.scrollHeight - box.clientHeight; })()"
    page.wait_for_function(f"{below} > 300", timeout=30_000)
    page.wait_for_function(f"Math.abs({below} - document.querySelector('.scroll').scrollTop) < 130")
    page.locator(".scroll").evaluate("box => box.scrollTo(0, 0)")
    before = page.evaluate(below)
    page.wait_for_function(f"{below} > {before} + 60")
    assert page.locator(".scroll").evaluate("box => box.scrollTop") == 0


def test_an_answer_goes_on_without_the_search_and_says_when_the_model_is_gone(
    page: Page, app: RunningApp, pace: Callable[[int], None], fault: Callable[[str, str], None]
) -> None:
    pace(2000)
    fault("valyu", "down")
    steps.begin_chat(page, app, QUESTION)
    answer = steps.wait_for_answer(page)
    expect(answer).to_contain_text("The search is not available at the moment.")
    expect(answer).to_have_attribute("data-status", "done")
    fault("llm", "500")
    steps.ask(page, "And now?")
    expect(steps.answers(page)).to_have_count(2)
    expect(steps.answers(page).last).to_contain_text("The model does not answer at the moment.", timeout=30_000)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


def test_a_lost_server_is_said_and_what_was_typed_stays(
    page: Page, app: RunningApp, pace: Callable[[int], None]
) -> None:
    pace(20)
    steps.begin_chat(page, app, QUESTION)
    page.wait_for_function("document.querySelector('article').innerText.length > 150")
    page.get_by_label("Your question").fill("Typed in the meantime")
    app.kill()
    try:
        expect(page.get_by_text("No connection.")).to_be_visible()
        expect(steps.answers(page).last).to_contain_text("reconnecting")
    finally:
        app.start()
    expect(page.get_by_text("No connection.")).to_have_count(0)
    expect(steps.answers(page).last).to_contain_text("This answer was interrupted", timeout=60_000)
    expect(page.get_by_label("Your question")).to_have_value("Typed in the meantime")
