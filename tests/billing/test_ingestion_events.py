"""What Polar would refuse is refused before it is written; and what is let through, Polar takes as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chatapp.billing.delivery import _event
from chatapp.billing.ingestion.events import Event, InvalidEvent, Llm, payload_of, require_valid, sendable_cost
from chatapp.models import OutboxMessage
from emulators.polar.event_inputs import EventCreateExternalCustomer
from tests.billing.conftest import NOON
from tests.emulators.polar.contract import schema_problems

GOOD = Event("render", "customer-1", {"frames": 24})
polar: TypeAdapter[Any] = TypeAdapter(EventCreateExternalCustomer)


def sent(event: Event) -> dict[str, Any]:
    """The event as the client sends it, hours later."""
    message = OutboxMessage(channel="usage", key="k", payload=payload_of(event, "event:k", NOON))
    return _event(message, NOON + timedelta(hours=1), stamped=True).as_json()


def problems(event: Event) -> str:
    with pytest.raises(InvalidEvent) as refusal:
        require_valid([event], NOON, one=True)
    assert [index for index, _ in refusal.value.problems] == [0] * len(refusal.value.problems)
    return str(refusal.value)


def with_value(value: Any) -> Event:
    return replace(GOOD, metadata={"a": value})


@pytest.mark.parametrize(("event", "told"), [
    (replace(GOOD, name=""), "name has 0 characters"),
    (replace(GOOD, name="n" * 129), "name has 129 characters; it has to have 1 to 128"),
    (replace(GOOD, external_customer_id=""), "external_customer_id has 0 characters"),
    (replace(GOOD, external_customer_id=None), "external_customer_id is a NoneType"),
    (replace(GOOD, key="k" * 151), "key has 151 characters"),
    (replace(GOOD, key=""), "key has 0 characters"),
    (with_value(""), "'a' has 0 characters"),
    (with_value("x" * 501), "'a' has 501 characters"),
    (with_value("a\x00b"), "NUL"),
    (with_value("\ud800"), "half a character"),
    (with_value(None), "'a' is a NoneType; it has to be a text, a number or a boolean"),
    (with_value([1]), "'a' is a list"),
    (with_value({"b": 1}), "'a' is a dict"),
    (with_value(float("nan")), "'a' is nan; it has to be finite"),
    (with_value(Decimal("NaN")), "not within"),
    (with_value(Decimal("sNaN")), "not within"),
    (with_value(Decimal("Infinity")), "not within"),
    (with_value(10**400), "not within"),
    (with_value(2**53 + 1), "send a text"),
    (with_value(Decimal("0.12345678901234567891")), "which no JSON number is exactly"),
    (replace(GOOD, metadata={"k" * 41: 1}), "has 41 characters; it has to have 1 to 40"),
    (replace(GOOD, metadata={7: 1}), "is a int; it has to be a text"),
    (replace(GOOD, metadata={f"k{n}": n for n in range(51)}), "has 51 keys"),
    (replace(GOOD, metadata={f"k{n}": n for n in range(50)}, cost_usd=Decimal(1)), "has 51 keys"),
    (replace(GOOD, metadata={"_cost": 1}), "pass cost_usd"),
    (replace(GOOD, metadata={"_llm": "x"}), "pass llm"),
    (replace(GOOD, cost_usd=0.1), "cost_usd is a float; it has to be a Decimal"),
    (replace(GOOD, cost_usd=Decimal(-1)), "from 0 to 999.99"),
    (replace(GOOD, cost_usd=Decimal("1000")), "from 0 to 999.99"),
    (replace(GOOD, cost_usd=Decimal("NaN")), "from 0 to 999.99"),
    (replace(GOOD, cost_usd=Decimal("0.000000000000001")), "more than 14 decimals"),
    (replace(GOOD, llm=Llm("", "m", 1, 1)), "llm's vendor has 0 characters"),
    (replace(GOOD, llm=Llm("v", "m", -1, 1)), "integers and not negative"),
    (replace(GOOD, at=datetime(2026, 11, 20)), "has no time zone"),  # noqa: DTZ001 - that is the case
    (replace(GOOD, at=NOON + timedelta(hours=1)), "is in the future"),
])
def test_what_polar_would_refuse_is_refused_in_words(event: Event, told: str) -> None:
    assert told in problems(event)


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = problems(replace(GOOD, name="usage", metadata={"a": None, "b": float("inf")}, cost_usd=Decimal(-1)))
    assert all(text in told for text in ("the ledger's", "'a'", "'b'", "cost_usd"))


def test_a_clock_that_is_a_little_ahead_is_borne_and_polar_gets_no_future() -> None:
    ahead = replace(GOOD, at=NOON + timedelta(minutes=4))
    require_valid([ahead], NOON, one=True)
    message = OutboxMessage(channel="usage", key="k", payload=payload_of(ahead, "event:k", NOON))
    assert "timestamp" not in _event(message, NOON, stamped=True).as_json()


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
texts = st.text(characters, min_size=1, max_size=20)
values = st.one_of(texts, st.booleans(), st.integers(-2**53, 2**53), st.floats(allow_nan=False, allow_infinity=False),
                   st.decimals(-10**9, 10**9, places=3))
models = st.builds(Llm, texts, texts, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
events = st.builds(Event, name=texts.filter(lambda name: not name.lower().startswith("usage")),
                   external_customer_id=texts,
                   metadata=st.dictionaries(texts.filter(lambda key: not key.startswith("_")), values, max_size=10),
                   key=st.none() | texts, cost_usd=st.none() | st.decimals(0, 999, places=14),
                   llm=st.none() | models, at=st.none() | st.just(NOON - timedelta(days=2)))


@given(events)
def test_polar_takes_whatever_is_let_through_and_exactly_as_it_was_given(event: Event) -> None:
    require_valid([event], NOON, one=True)
    body = sent(event)
    taken = polar.validate_python(body, context={"now": NOON + timedelta(hours=1)})
    for key, value in event.metadata.items():
        kept = taken.metadata[key]
        assert (Decimal(repr(kept)) == value) if isinstance(value, Decimal) else (kept == value)
        assert isinstance(kept, bool) == isinstance(value, bool)
    if event.cost_usd is not None:
        assert taken.metadata["_cost"]["amount"] == event.cost_usd * 100


def test_an_event_has_the_form_that_polar_documents() -> None:
    full = replace(GOOD, cost_usd=Decimal("999.99"), llm=Llm("acme", "m-1", 10, 2, 3), at=NOON - timedelta(hours=2),
                   metadata={"a": "x", "b": 1.5, "c": Decimal("0.001"), "d": True})
    assert schema_problems("EventCreateExternalCustomer", sent(full)) == []
    assert schema_problems("LLMMetadata", sent(full)["metadata"]["_llm"]) == []
    for cost in ("0", "0.00000000000001", "999.99", "0.1"):
        amount = sent(replace(GOOD, cost_usd=Decimal(cost)))["metadata"]["_cost"]
        assert schema_problems("CostMetadata-Input", amount) == []
        assert Decimal(amount["amount"]) == Decimal(cost) * 100


def test_a_cost_that_polar_cannot_hold_is_left_out_and_never_zero() -> None:
    assert sendable_cost(None) is None
    assert sendable_cost(Decimal("1000")) is None
    assert sendable_cost(Decimal("0.1234567890123456")) == Decimal("0.12345678901235")
    assert sendable_cost(Decimal(0)) == 0
