"""What a step costs: quantities in disjoint buckets times unit prices that are copied into every ledger row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

INPUT_BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")
"""The buckets of a model's input. They are disjoint: `input_tokens` are those that no cache read or wrote."""
OUTPUT_BUCKET = "output_tokens"

_EXACT = Context(prec=80)
_BYTES_PER_TOKEN = 3


class UnpricedQuantity(ValueError):
    """A quantity has no unit price, so its cost is unknown; an unknown cost is never taken for zero."""


@dataclass(frozen=True)
class UnitPrices:
    """The unit prices of one model or tool at one moment.

    Attributes:
        provider: who is paid, such as `openai`.
        name: the model or the tool.
        version: where the prices come from, such as `genai-prices 0.2.3` or `settings`.
        usd_per_unit: bucket → dollars per single unit. Buckets are disjoint: `input_tokens`, `cache_read_tokens`,
            `cache_write_tokens`, `output_tokens`, `searches`, `seconds`, ….
    """

    provider: str
    name: str
    version: str
    usd_per_unit: Mapping[str, Decimal]


def cost_usd(prices: UnitPrices, quantities: Mapping[str, int]) -> Decimal:
    """The exact cost in dollars of these quantities.

    Raises:
        UnpricedQuantity: for a quantity above zero in a bucket without a price.
        ValueError: for a negative quantity.
    """
    total = Decimal(0)
    with localcontext(_EXACT):
        for bucket, quantity in quantities.items():
            if quantity < 0:
                raise ValueError(f"{quantity} {bucket} cannot have been used.")
            if quantity == 0:
                continue
            if bucket not in prices.usd_per_unit:
                raise UnpricedQuantity(f"{prices.provider}'s {prices.name} has no price for {bucket}.")
            total += prices.usd_per_unit[bucket] * quantity
    return total


def first_estimate(kind: str, quantities_bound: Mapping[str, int]) -> dict[str, int]:
    """What a step is taken to have used when its process died before it could say anything.

    A tool's bound is its static cap: sent but unanswered, it is presumed spent. A model's bound counts a token for
    each byte of the input; a third of that is near the truth, and of the answer nothing was seen.
    """
    if kind != "model":
        return dict(quantities_bound)
    return {
        bucket: -(-quantity // _BYTES_PER_TOKEN)
        for bucket, quantity in quantities_bound.items() if bucket != OUTPUT_BUCKET
    }


def as_json(prices: UnitPrices) -> dict[str, Any]:
    """The prices as a ledger row keeps them; Decimals as text, so that nothing is rounded."""
    return {
        "provider": prices.provider, "name": prices.name, "version": prices.version,
        "usd_per_unit": {bucket: str(value) for bucket, value in prices.usd_per_unit.items()},
    }


def from_json(stored: Mapping[str, Any]) -> UnitPrices:
    """The inverse of `as_json`."""
    return UnitPrices(
        provider=stored["provider"], name=stored["name"], version=stored["version"],
        usd_per_unit={bucket: Decimal(value) for bucket, value in stored["usd_per_unit"].items()},
    )
