"""An event of one's own, and everything for which Polar would refuse it: refused here, where it can be mended.

Polar refuses a whole batch for one bad event. What it documents about metadata (keys of 40 characters, 50 of them) is
held to, although it takes more at present.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, TypeAlias

from chatapp.billing.usage_payload import BILLED, INCLUDED, MAX_COST_CENTS, MAX_TEXT
from chatapp.text import storable

RESERVED = frozenset({BILLED, INCLUDED})
"""The ledger's names. The priced meter sums what has the first: no one else may send it."""
STRUCTURED = {"_cost": "cost_usd", "_llm": "llm"}
"""Keys to which Polar gives a form and a meaning of their own, and the argument that fills them."""
MAX_NAME = 128
MAX_METADATA_KEY = 40
MOST_METADATA = 50
MAX_KEY = 150
COST_STEP_USD = Decimal("1e-14")
"""Polar takes 12 decimals of a cent."""
MAX_COST_USD = Decimal(MAX_COST_CENTS) / 100
LARGEST_NUMBER = 2**53
"""Polar sums in floating point, and JSON's readers take larger integers for their neighbours."""
AHEAD = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours. Polar never gets a time in the future."""

_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)

Value: TypeAlias = str | int | float | bool | Decimal
"""What a key of the metadata may hold. A Decimal is sent as the number that it is, or refused."""


class InvalidEvent(ValueError):
    """Polar would refuse some of the events, so none was written.

    Attributes:
        problems: (position among the events given, what is wrong with that one), in order.
    """

    def __init__(self, problems: Sequence[tuple[int, str]], *, one: bool) -> None:
        super().__init__(" ".join(text if one else f"Event {index}: {text}" for index, text in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Llm:
    """The model request behind an event, for Polar's cost insights. No prompt and no answer: they are nobody's bill.

    Attributes:
        input_tokens: all of them, those read from a cache included.
        cached_input_tokens: those of the input that were read from a cache.
    """

    vendor: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0

    def as_json(self) -> dict[str, str | int]:
        """The form that Polar documents."""
        return {
            "vendor": self.vendor, "model": self.model, "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens, "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }


@dataclass(frozen=True)
class Event:
    """Something that happened and that Polar is to know once.

    Attributes:
        name: what a meter filters on, at most 128 characters; `usage` and `usage.included` are the ledger's.
        external_customer_id: your id of the customer, as Polar has it; Polar need not know them yet.
        metadata: at most 50 keys of at most 40 characters; texts of 1 to 500 characters, finite numbers within
            ±2⁵³, booleans. Decimals are kept exact.
        key: the idempotency key, at most 150 characters: the same key is the same event. Without one, every event is
            another one.
        cost_usd: what it cost you, in dollars, with at most 14 decimals; None if that is not known. It bills nothing.
        llm: the model request behind it.
        at: when it happened, aware; None for now. Polar bills by when it *receives* an event.
    """

    name: str
    external_customer_id: str
    metadata: Mapping[str, Value] = field(default_factory=dict)
    key: str | None = None
    cost_usd: Decimal | None = None
    llm: Llm | None = None
    at: datetime | None = None


def require_valid(events: Sequence[Event], now: datetime, *, one: bool) -> None:
    """Return if Polar would take all of them.

    Raises:
        InvalidEvent: with all problems of all events; their positions are told unless it is about `one`.
    """
    problems = [(index, text) for index, event in enumerate(events) for text in _problems(event, now)]
    if problems:
        raise InvalidEvent(problems, one=one)


def payload_of(event: Event, external_id: str, now: datetime) -> dict[str, Any]:
    """A valid event as an outbox payload, in the form of `usage_payload.payload_of`."""
    metadata: dict[str, Any] = {k: value for k, value in event.metadata.items() if not isinstance(value, Decimal)}
    if event.cost_usd is not None:
        metadata["_cost"] = {"amount": _plain(_WIDE.multiply(event.cost_usd, Decimal(100))), "currency": "usd"}
    if event.llm is not None:
        metadata["_llm"] = event.llm.as_json()
    return {
        "name": event.name, "external_id": external_id, "external_customer_id": event.external_customer_id,
        "occurred_at": (event.at or now).astimezone(UTC).isoformat(), "metadata": metadata,
        "numbers": {key: _plain(value) for key, value in event.metadata.items() if isinstance(value, Decimal)},
    }


def sendable_cost(cost_usd: Decimal | None) -> Decimal | None:
    """A cost, rounded to what Polar takes; None, which is unknown and not zero, if there is none or it is too big."""
    if cost_usd is None or not 0 <= cost_usd <= MAX_COST_USD:
        return None
    return cost_usd.quantize(COST_STEP_USD, context=_WIDE)


def _problems(event: Event, now: datetime) -> list[str]:
    found = [*_name_problems(event.name), *_text_problems("external_customer_id", event.external_customer_id)]
    if event.key is not None:
        found += _text_problems("key", event.key, MAX_KEY)
    if event.cost_usd is not None:
        found += _cost_problems(event.cost_usd)
    if event.llm is not None:
        found += _llm_problems(event.llm)
    if event.at is not None:
        found += _time_problems(event.at, now)
    return found + _metadata_problems(event)


def _name_problems(name: object) -> list[str]:
    if isinstance(name, str) and name.strip().casefold() in RESERVED:
        return [f"The name {name!r} is the ledger's: what is billed is entered there. Choose another one."]
    return _text_problems("name", name, MAX_NAME)


def _text_problems(what: str, text: object, longest: int = MAX_TEXT) -> list[str]:
    if not isinstance(text, str):
        return [f"The {what} is a {type(text).__name__}; it has to be a text."]
    if not 1 <= len(text) <= longest:
        return [f"The {what} has {len(text)} characters; it has to have 1 to {longest}."]
    if storable(text) != text:
        return [f"The {what} has NUL or half a character in it, which no database takes."]
    return []


def _cost_problems(cost_usd: object) -> list[str]:
    if isinstance(cost_usd, bool) or not isinstance(cost_usd, Decimal | int):
        return [f"The cost_usd is a {type(cost_usd).__name__}; it has to be a Decimal, in dollars."]
    cost = Decimal(cost_usd)
    if not cost.is_finite() or not 0 <= cost <= MAX_COST_USD:
        return [f"The cost_usd is {cost}; it has to be from 0 to {MAX_COST_USD}, or None if it is not known."]
    if cost.quantize(COST_STEP_USD, context=_WIDE) != cost:
        return [f"The cost_usd {cost} has more than 14 decimals: round it."]
    return []


def _llm_problems(llm: Llm) -> list[str]:
    counts = (llm.input_tokens, llm.output_tokens, llm.cached_input_tokens)
    found = [*_text_problems("llm's vendor", llm.vendor), *_text_problems("llm's model", llm.model)]
    if not all(isinstance(count, int) and 0 <= count <= LARGEST_NUMBER for count in counts):
        found.append(f"The llm's numbers of tokens are {counts}; they have to be integers and not negative.")
    return found


def _time_problems(at: datetime, now: datetime) -> list[str]:
    if at.tzinfo is None:
        return [f"The time {at} has no time zone."]
    return [f"The time {at} is in the future."] if at > now + AHEAD else []


def _metadata_problems(event: Event) -> list[str]:
    size = len(event.metadata) + (event.cost_usd is not None) + (event.llm is not None)
    found = [] if size <= MOST_METADATA else [
        f"The metadata has {size} keys, with those of cost and model; it may have {MOST_METADATA}."]
    for key, value in event.metadata.items():
        if key in STRUCTURED:
            found.append(f"The metadata's {key} has a form of its own: pass {STRUCTURED[key]}.")
        elif problems := _text_problems(f"metadata's key {key!r}", key, MAX_METADATA_KEY):
            found += problems
        else:
            found += _value_problems(f"metadata's {key!r}", value)
    return found


def _value_problems(what: str, value: object) -> list[str]:
    if isinstance(value, str):
        return _text_problems(what, value)
    if isinstance(value, bool):
        return []
    if not isinstance(value, int | float | Decimal):
        return [f"The {what} is a {type(value).__name__}; it has to be a text, a number or a boolean."]
    if isinstance(value, float):
        return [] if math.isfinite(value) else [f"The {what} is {value}; it has to be finite."]
    exact = Decimal(value)
    if not exact.is_finite() or not -LARGEST_NUMBER <= exact <= LARGEST_NUMBER:
        return [f"The {what} is not within ±2⁵³, where numbers are exact: send a text."]
    if Decimal(repr(float(exact))) != exact:
        return [f"The {what} is {value}, which no JSON number is exactly: round it, or send a text."]
    return []


def _plain(value: Decimal) -> str:
    """A number without an exponent and without trailing zeros, so that the same value is the same text."""
    text = format(Decimal(value), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
