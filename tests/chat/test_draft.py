"""The fold: what the browser receives, what is saved, and what is rebuilt after a crash are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.chat.draft import Draft, operations_of

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
STEPS = st.fixed_dictionaries({
    "id": st.sampled_from(["a", "b", "c"]), "type": st.sampled_from(["search", "code"]),
    "status": st.sampled_from(["running", "done", "failed"]), "output": TEXTS,
})
OPERATIONS = st.lists(st.one_of(
    TEXTS, STEPS.map(lambda step: {"t": "part", "p": step}),
    st.lists(st.fixed_dictionaries({"number": st.integers(1, 9), "title": TEXTS}), min_size=1, max_size=3).map(
        lambda sources: {"t": "sources", "s": sources}),
), max_size=20)


def folded(serialised: list[str]) -> Draft:
    draft = Draft()
    for operation in serialised:
        draft.apply(json.loads(operation))
    return draft


@given(OPERATIONS)
def test_stored_operations_add_up_to_the_draft_that_made_them(operations: list[Any]) -> None:
    draft = Draft()
    for operation in operations:
        draft.add(operation)
    rebuilt = folded(draft.operations)
    assert (rebuilt.parts, rebuilt.sources, rebuilt.text) == (draft.parts, draft.sources, draft.text)


@given(OPERATIONS)
def test_a_saved_answer_can_be_told_again_in_operations(operations: list[Any]) -> None:
    draft = Draft()
    for operation in operations:
        draft.add(operation)
    told = folded(operations_of(draft.parts, draft.sources))
    assert (told.parts, told.sources) == (draft.parts, draft.sources)


def test_text_goes_on_in_the_last_part_and_begins_anew_after_a_step() -> None:
    draft = Draft()
    for operation in ("One", " two", {"t": "part", "p": {"id": "s", "type": "search", "status": "done"}}, " Three "):
        draft.add(operation)
    assert [part.get("text") for part in draft.parts] == ["One two", None, " Three "]
    assert draft.text == "One two\n\nThree"


def test_a_newer_version_of_a_step_takes_its_place() -> None:
    draft = Draft()
    for status in ("running", "done"):
        draft.add({"t": "part", "p": {"id": "s", "type": "search", "status": status}})
        draft.add("text")
    assert [part.get("status") for part in draft.parts] == ["done", None]


def test_steps_that_still_run_at_the_end_are_marked_as_not_finished() -> None:
    draft = Draft()
    for id, status in (("a", "done"), ("b", "running")):
        draft.add({"t": "part", "p": {"id": id, "type": "search", "status": status, "error": ""}})
    draft.close_open_parts()
    assert [(part["status"], part["error"]) for part in draft.parts] == [("done", ""), ("failed", "Not finished.")]


@pytest.mark.parametrize("operation", [{}, {"t": "unknown"}, {"p": {}}])
def test_an_unknown_operation_is_an_error(operation: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Unknown operation"):
        Draft().apply(operation)
