"""The component that shows an answer, in a real Chromium: answers that arrive, and threads of many."""
# ruff: noqa: F811  # pytest hands fixtures over by the names under which they are imported

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.answer_page import Connection, Server
from tests.browser.answer_page.fixtures import SOURCES, chromium, follow, page, server, show, texts  # noqa: F401

pytestmark = pytest.mark.browser

DONE = {"t": "done", "status": "done", "error": "", "price": "$0.0042", "price_note": "included in Free"}


def test_a_stream_is_shown_as_it_comes_and_its_end_is_told_once(page: Page, server: Server) -> None:
    search = {"type": "search", "id": "s", "query": "sea level", "status": "running", "found": 0, "error": ""}
    server.scripts["going"] = [Connection([(1, {"t": "part", "p": search})], hold=True)]
    show(page, src="/stream/going")
    expect(page.locator(".answer-step").get_by_text("Searching for “sea level”")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Searching for “sea level”")
    follow(page, server, "whole", Connection([
        (1, {"t": "part", "p": search}), (2, {"t": "part", "p": search | {"status": "done", "found": 5}}),
        *texts("Rises [", "1]", ".", "\n\nEnd **bo", "ld**.", first=3),
        (8, {"t": "sources", "s": SOURCES[:1]}), (9, DONE),
    ]))  # fmt: skip
    expect(page.get_by_text("Searched “sea level” · 5 sources")).to_be_visible()
    expect(page.get_by_role("link", name="Source 1: Paper 1")).to_have_count(1)
    expect(page.locator("strong")).to_have_text("bold")
    expect(page.get_by_text("$0.0042 · included in Free")).to_be_visible()
    assert page.evaluate("window.ended") == [["m", "done"]]
    assert server.requests["whole"] == [(None, None)]


def test_the_end_of_a_stream_leaves_the_answer_until_the_page_has_the_saved_one(page: Page, server: Server) -> None:
    follow(page, server, "short", Connection([*texts("Streamed text"), (2, DONE)]))
    page.wait_for_function("window.ended.length")
    show(page)
    expect(page.get_by_text("Streamed text")).to_be_visible()
    show(page, "Saved text")
    expect(page.get_by_text("Saved text")).to_be_visible()
    expect(page.get_by_text("Streamed text")).to_have_count(0)


def test_a_lost_connection_goes_on_after_the_last_event_and_repeats_none(page: Page, server: Server) -> None:
    follow(page, server, "lost",
           Connection(texts("one ", "two ")), Connection([*texts("two ", "three", first=2), (4, DONE)]))
    expect(page.get_by_text("one two three", exact=True)).to_be_visible()
    page.wait_for_function("window.ended.length === 1")
    assert server.requests["lost"] == [(None, None), (None, "2")]


def test_a_server_error_is_waited_out_and_the_stream_resumed_by_number(page: Page, server: Server) -> None:
    follow(page, server, "error", Connection(texts("one ")), Connection(status=503), Connection(status=503),
           Connection([*texts("two", first=2), (3, DONE)]))  # fmt: skip
    expect(page.locator(".answer-note")).to_have_text("reconnecting…")
    expect(page.get_by_text("one two", exact=True)).to_be_visible()
    # The browser's own attempt, the question why it failed, the same a second later, the stream itself.
    assert server.requests["error"] == [(None, None), (None, "1"), ("1", None), ("1", None), ("1", None)]
    expect(page.locator(".answer-note")).to_have_count(0)


@pytest.mark.parametrize("status", [403, 404])
def test_a_stream_that_is_gone_is_not_asked_for_again(page: Page, server: Server, status: int) -> None:
    follow(page, server, "gone", Connection(status=status))
    expect(page.get_by_text("Reload the page to see it.").first).to_be_visible()
    assert len(server.requests["gone"]) == 2  # the stream, and the question why
    assert page.evaluate("window.ended") == []


def test_finished_blocks_are_announced_once_and_not_touched_again(page: Page, server: Server) -> None:
    follow(page, server, "live", Connection(texts("First paragraph.\n\n", "Second"), hold=True))
    done, tail = page.locator("[aria-live=polite] > p"), page.locator("[aria-live=off]")
    expect(tail.locator("p")).to_have_count(2)
    expect(done).to_have_count(0)  # an unfinished line settles nothing about the one before
    page.evaluate("""new MutationObserver(all => { window.touched = (window.touched ?? 0) + all.length; }).observe(
        document.querySelector("[aria-live=polite]"), {subtree: true, characterData: true, attributes: true})""")
    follow(page, server, "live2", Connection(
        [*texts("First paragraph.\n\n", "Second one.\n", "\nThi", "rd, ", "[1", "].", "\n\nFourth"), (8, DONE)],
        gap_seconds=0.03,
    ))  # fmt: skip
    page.wait_for_function("window.ended.length")
    assert done.all_inner_texts() == ["First paragraph.", "Second one.", "Third, [1].", "Fourth"]
    assert page.evaluate("window.touched ?? 0") == 0
    expect(page.get_by_role("status")).to_have_text("Answer complete.")


def test_the_messages_of_a_long_thread_are_not_rendered_again_while_another_streams(page: Page, server: Server) -> None:
    server.scripts["thread"] = [Connection([*texts(*["word "] * 50), (99, DONE)], gap_seconds=0.005)]
    saved = {"parts": [{"type": "text", "text": "**Old** [1]"}], "sources": SOURCES, "status": "done"}
    old = [{"messageId": f"old{at}", **saved} for at in range(500)]
    live = {"messageId": "live", "parts": [], "sources": [], "src": "/stream/thread"}
    page.evaluate("all => { show(all); show(structuredClone(all)); show(structuredClone(all)) }", [*old, live])
    page.wait_for_function("window.ended.length === 1")
    renders = page.evaluate("window.renders")
    assert {name: count for name, count in renders.items() if name != "live" and count != 1} == {}
    assert len(renders) >= 500
    assert page.locator(".answer").first.evaluate("one => getComputedStyle(one).contentVisibility") == "auto"


def test_motion_is_left_out_for_those_who_ask(page: Page, server: Server) -> None:
    page.emulate_media(reduced_motion="reduce")
    follow(page, server, "still", Connection([], hold=True))
    mark = page.locator(".answer-mark")
    expect(mark).to_be_visible()
    assert mark.evaluate("one => getComputedStyle(one).animationName") == "none"
