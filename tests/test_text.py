"""Characters that JSON can carry and a database cannot."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.text import storable, storable_data


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a\x00b", "ab"),
        ("cut \ud83d", "cut \ufffd"),
        ("\ude00 rest", "\ufffd rest"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d\x00\ude00", "\U0001f600"),
        ("\ufeffwith a mark", "\ufeffwith a mark"),
        ("Grüße, \U0001f600\n", "Grüße, \U0001f600\n"),
    ],
)
def test_what_cannot_be_saved_is_mended_and_the_rest_is_kept(text: str, mended: str) -> None:
    assert storable(text) == mended


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_storable_once_and_for_all(text: str) -> None:
    clean = storable(text)
    clean.encode()
    assert "\x00" not in clean
    assert storable(clean) == clean


@given(st.text())
def test_a_good_text_is_changed_by_nothing_but_its_nuls(text: str) -> None:
    assert storable(text) == text.replace("\x00", "")


def test_data_is_mended_in_its_depth_and_its_numbers_stay_exact() -> None:
    data = {"a\x00": [{"b": "\ud83d"}, Decimal("0.10"), None, True], "c": ("x\x00",)}
    assert storable_data(data) == {"a": [{"b": "\ufffd"}, Decimal("0.10"), None, True], "c": ("x",)}
