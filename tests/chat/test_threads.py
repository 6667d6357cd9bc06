"""Questions, titles and endings, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.billing.catalog import PLANS
from chatapp.chat.ending import ending_of
from chatapp.chat.threads import MAX_QUESTION_CHARACTERS, TITLE_LENGTH, ChatError, question_text, title_of
from chatapp.models import Message


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00", " \x00 \x00\n", None, 5, ["Why?"], {"a": 1}, b"Why?"])
def test_a_question_of_nothing_is_refused(text: object) -> None:
    with pytest.raises(ChatError, match="Type a question first"):
        question_text(text)


def test_a_question_may_have_the_allowed_length_and_not_one_character_more() -> None:
    assert question_text(" " + "x" * MAX_QUESTION_CHARACTERS + "\n") == "x" * MAX_QUESTION_CHARACTERS
    with pytest.raises(ChatError, match=r"20,001 characters; the most that fits is 20,000"):
        question_text("x" * (MAX_QUESTION_CHARACTERS + 1))


@given(st.text(st.characters(exclude_categories=[]), max_size=50))
def test_whatever_is_asked_can_be_stored_and_changes_nothing_when_checked_again(text: str) -> None:
    try:
        question = question_text(text)
    except ChatError:
        return
    question.encode()
    assert "\x00" not in question
    assert question == question.strip() == question_text(question)


def test_halves_of_one_character_become_the_character() -> None:
    assert question_text("\ud83d\ude00") == "😀"


@given(st.text(min_size=1, max_size=300))
def test_a_title_is_one_line_of_bounded_length(question: str) -> None:
    title = title_of(question)
    assert len(title) <= TITLE_LENGTH + 1
    assert len(title.splitlines()) <= 1


@pytest.mark.parametrize(("question", "title"), [
    ("Why?", "Why?"),
    ("  Why\n is   it so? ", "Why is it so?"),
    ("a" * 60, "a" * 60),
    ("a" * 61, "a" * 60 + "…"),
    ("word " * 20, "word " * 11 + "word…"),
    ("How do heat pumps compare with gas boilers, and, over time, which one wins?",
     "How do heat pumps compare with gas boilers, and, over time…"),
])
def test_a_title_is_the_first_words_cut_at_a_word(question: str, title: str) -> None:
    assert title_of(question) == title


def message(plan: str, **fields: Any) -> Message:
    return Message(thread_id="t", account_id="a", role="assistant", status="done", plan=plan, **fields)


@pytest.mark.parametrize(("plan", "cost", "charge", "price", "note"), [
    ("pay_per_use", 1_000_000_000, 1_200_000_000, "$1.20", ""),
    ("free", 1_000_000_000, 0, "$1.00", "included in Free"),
    ("visitor", 1_000_000_000, 0, "$1.00", "free for visitors"),
    ("unlimited", 1_000_000_000, 0, "$1.00", "included in Unlimited"),
    ("a plan that was given up", 5_000_000_000, 6_000_000_000, "$6.00", ""),
    ("pay_per_use", 0, 0, "", ""),
])
def test_an_ending_shows_what_is_billed_or_what_it_would_have_cost(
    plan: str, cost: int, charge: int, price: str, note: str
) -> None:
    shown = ending_of(message(plan, cost_nanousd=cost, charge_nanousd=charge))
    assert (shown.price, shown.price_note) == (price, note)


def test_an_estimate_is_called_one() -> None:
    assert ending_of(message("pay_per_use", cost_nanousd=5, charge_nanousd=6, exact=False)).price_note == "estimate"
    assert ending_of(message("free", cost_nanousd=5, exact=False)).price_note == "included in Free, estimate"


def test_every_plan_has_an_ending() -> None:
    for plan in PLANS.values():
        assert ending_of(message(plan.key, cost_nanousd=10**9, charge_nanousd=10**9)).price


def test_an_ending_is_the_streams_last_operation() -> None:
    failed = message("free", error="It failed.")
    failed.status = "failed"
    assert json.loads(ending_of(failed).as_operation()) == {
        "t": "done", "status": "failed", "error": "It failed.", "price": "", "price_note": ""}
