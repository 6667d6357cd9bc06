"""MODEL_PRICE: the operator's price table, as text.

- `0.50/1.50`: input/output, in dollars per million tokens;
- `input=0.15, output=0.60, cache_read=0.075`: the same by name, and more of it;
- `llama3:8b: 0/0; big-model: input=3, output=15`: a table of several models of the endpoint.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from chatapp.settings.model import ModelPrice

BOOK: Final = "book"
"""Says that an endpoint other than OpenAI's is one that the price book knows."""
_FIELDS = {
    "input": "input_usd_per_million", "output": "output_usd_per_million",
    "cache_read": "cache_read_usd_per_million", "cache_write": "cache_write_usd_per_million",
    "cache_write_1h": "cache_write_1h_usd_per_million", "reasoning": "reasoning_usd_per_million",
    "request": "request_usd",
}
_MOST_USD, _DECIMALS = 1_000_000, 12
HOW = (
    "write input/output in dollars per million tokens: 0.50/1.50, or by name: input=0.50, output=1.50, "
    "cache_read=0.05 (also cache_write, cache_write_1h, reasoning; request in dollars each), and several models as "
    "model: price; model2: price"
)


class Malformed(ValueError):
    """What is wrong with the text, in words that follow it."""


def parse(text: str) -> dict[str, ModelPrice]:
    """The table: model → price; the price without a model's name, for all others, is under the empty name.

    Raises:
        Malformed: with what is wrong.
    """
    table: dict[str, ModelPrice] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        model, _, price = (part.strip() for part in entry.rpartition(":"))  # a model's name may have a colon, too
        if model in table:
            raise Malformed(f"prices {model or 'all models'} twice")
        table[model] = _price(price)
    if not table:
        raise Malformed("has no price in it")
    return table


def _price(text: str) -> ModelPrice:
    if "=" not in text:
        input_price, slash, output_price = text.partition("/")
        if not slash:
            raise Malformed(f"has no output price in {text!r}")
        return ModelPrice(_usd("input", input_price), _usd("output", output_price))
    amounts: dict[str, Decimal] = {}
    for part in text.split(","):
        name, _, amount = (piece.strip() for piece in part.partition("="))
        if name not in _FIELDS:
            raise Malformed(f"has {name!r}, which is none of {', '.join(_FIELDS)}")
        if name in amounts:
            raise Malformed(f"has {name} twice")
        amounts[name] = _usd(name, amount)
    for name in ("input", "output"):
        if name not in amounts:
            raise Malformed(f"has no {name} price in {text!r}")
    return ModelPrice(**{_FIELDS[name]: amount for name, amount in amounts.items()})


def _usd(name: str, text: str) -> Decimal:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        raise Malformed(f"has {text.strip()!r} as its {name} price, which is no amount") from None
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD or round(amount, _DECIMALS) != amount:
        raise Malformed(f"has {text.strip()!r} as its {name} price, which is no amount that can be paid")
    return amount
