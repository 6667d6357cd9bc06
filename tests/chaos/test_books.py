"""What judges a chaos run can say no: made-up books with one thing wrong each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from chaos.matching import matching
from chaos.plan import MOMENTS, life
from chaos.verdict import judge
from tests.chaos.made_up import at, books, charge, event, served

THREE = (charge(1), charge(2), charge(3))
EVENTS = tuple(event(one) for one in THREE)
[ACCOUNT] = books().accounts


def test_right_books_are_found_right() -> None:
    verdict = judge(books())
    assert verdict.right, verdict.table()
    assert verdict["events recorded"].value == verdict["events at Polar"].value == 3


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("lost", {"events": EVENTS[:2]}),
    ("doubled", {"events": (*EVENTS, EVENTS[0])}),
    ("doubled", {"events": (*EVENTS, event(charge(9)))}),
    ("billed with another figure", {"events": (*EVENTS[:2], event(THREE[2], charge_nanousd=1))}),
    ("billed with another figure", {"events": (*EVENTS[:2], event(THREE[2], name="usage.included"))}),
    ("served, not in the ledger", {"served": tuple(served(number) for number in (1, 2, 3, 4))}),
    ("served, not in the ledger", {"served": (*books().served, served(2, id="again"))}),
    ("charged exactly, never served", {"served": tuple(served(number) for number in (1, 2))}),
    ("charged exactly, never served", {"served": (served(1), served(2), served(3, tokens=(1003, 102)))}),
    ("charged exactly, never served", {"served": (served(1), served(2), served(3, complete=False))}),
    ("charged exactly, never served", {"served": (served(1), served(2), served(3, at=at(60)))}),
    ("charged exactly, never served", {"served": (served(1), served(2), served(3, turn_id="turn-2"))}),
    ("acknowledged and lost", {"acknowledged": ("thread-1", "thread-4")}),
    ("answers never ended", {"answers": {"done": 2, "streaming": 1}}),
    ("answers that show another price", {"shown_nanousd": {"turn-1": THREE[0].charge_nanousd - 1}}),
    ("events waiting", {"waiting": 1}),
    ("events parked", {"parked": 1}),
    ("holds left", {"holds": 1}),
    ("nano-dollars held", {"accounts": (replace(ACCOUNT, held_nanousd=1),)}),
    ("running totals that differ", {"accounts": (replace(ACCOUNT, charged_nanousd=ACCOUNT.charged_nanousd + 1),)}),
    ("Polar's meters that differ", {"accounts": (replace(ACCOUNT, metered_nanousd=ACCOUNT.metered_nanousd - 1),)}),
]


@pytest.mark.parametrize(("title", "wrong"), WRONG, ids=[f"{n} {title}" for n, (title, _) in enumerate(WRONG)])
def test_what_is_wrong_is_found_and_named(title: str, wrong: dict[str, Any]) -> None:
    verdict = judge(books(**wrong))
    assert not verdict.right
    assert not verdict[title].right, verdict.table()
    assert "WRONG" in verdict.table()


def test_a_row_that_is_in_the_ledger_twice_is_found() -> None:
    verdict = judge(books(*THREE, charge(3, id="event-4", turn_id="turn-4"), served=books().served))
    assert verdict["charged exactly, never served"].value == 1


def test_a_nano_dollar_more_than_rounding_once_allows_is_found() -> None:
    one = charge(1)
    assert judge(books(one)).right
    dear = judge(books(replace(one, charge_nanousd=one.charge_nanousd + 1)))
    assert not dear["accounts beyond what rounding once allows"].right
    assert dear["largest |charges - exact cost x 1.2| of an account, nano-dollars"].value == Decimal(1)


def test_an_estimate_stands_for_a_request_that_was_cut_by_the_kill() -> None:
    cut = charge(2, exact=False, status="interrupted", tokens=(900, 0), settled_at=at(40))
    verdict = judge(books(charge(1), cut, charge(3), served=(served(1), served(2, complete=False), served(3))))
    assert verdict.right, verdict.table()
    assert verdict["- of these estimates"].value == 1


def test_an_estimate_of_a_killed_process_stands_for_nothing_that_was_served_long_after_the_kill() -> None:
    cut = charge(2, exact=False, status="interrupted", settled_at=at(40))
    later = served(2, at=at(20), complete=False)
    verdict = judge(books(charge(1), cut, charge(3), served=(served(1), later, served(3))))
    assert verdict["served, not in the ledger"].value == 1
    assert verdict["- of these sent, never served"].value == 1


def test_searches_and_programs_are_held_against_the_rows_of_their_own_question() -> None:
    search = charge(1, is_model=False, name="search", cost_usd=Decimal("0.0015"), charge_nanousd=1_800_000)
    found = served(1, id="tx", vendor="valyu", turn_id="turn-1", cost_usd=Decimal("0.0015"))
    assert judge(books(search, served=(found,))).right
    for wrong in (replace(found, turn_id="turn-2"), replace(found, cost_usd=Decimal("0.003"))):
        verdict = judge(books(search, served=(wrong,)))
        assert verdict["served, not in the ledger"].value == verdict["charged exactly, never served"].value == 1


def test_what_names_no_question_is_held_against_the_rows_of_its_time() -> None:
    nameless = tuple(served(number, turn_id="") for number in (1, 2, 3))
    assert judge(books(served=nameless)).right
    assert not judge(books(served=(*nameless[:2], served(3, turn_id="", at=at(60))))).right


def test_a_matching_is_as_large_as_can_be_whatever_the_order() -> None:
    wishes = {"a": ["x", "y"], "b": ["x"], "c": ["y", "z"], "d": ["z"]}
    for order in (list(wishes), list(wishes)[::-1]):
        found = matching({left: wishes[left] for left in order})
        assert len(set(found.values())) == len(found) == 3
    assert "d" in matching(wishes, first=["d"])


def test_a_seed_repeats_all_choices_and_each_life_is_another() -> None:
    lives = [life(7, number) for number in range(1, 201)]
    assert lives == [life(7, number) for number in range(1, 201)]
    assert lives != [life(8, number) for number in range(1, 201)]
    assert {one.moment for one in lives} == set(MOMENTS)
    kinds = {(fault.vendor, fault.kind) for one in lives for fault in one.faults}
    assert {("polar", "lost_answer"), ("polar", "429"), ("llm", "500"), ("polar", "webhook_twice")} <= kinds
    assert any(one.locked for one in lives)
    assert any(one.full for one in lives)
