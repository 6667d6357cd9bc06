"""What a step costs: quantities in disjoint buckets times unit prices that are copied into every ledger row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any

from chatapp.billing.buckets import INPUT_BUCKETS as INPUT_BUCKETS
from chatapp.billing.buckets import OUTPUT_BUCKET as OUTPUT_BUCKET
from chatapp.billing.buckets import OUTPUT_BUCKETS as OUTPUT_BUCKETS
from chatapp.billing.buckets import REQUESTS, SERVICE_TIER, TEXT_INPUT_BUCKETS, TEXT_OUTPUT_BUCKETS

_EXACT = Context(prec=80)
_BYTES_PER_TOKEN = 3


class UnpricedQuantity(ValueError):
    """A quantity has no unit price, so its cost is unknown; an unknown cost is never taken for zero."""


@dataclass(frozen=True)
class Tier:
    """Prices beyond a cliff: if a request's whole input is above the threshold, all of its tokens have these.

    Attributes:
        above_input_tokens: the threshold; an input of exactly so many tokens is still below.
        usd_per_unit: the whole price list, as in `Rates`.
    """

    above_input_tokens: int
    usd_per_unit: Mapping[str, Decimal]


@dataclass(frozen=True)
class Rates:
    """One price list and its cliffs, from the lowest up.

    Attributes:
        usd_per_unit: bucket → dollars per single unit. Buckets are disjoint: `input_tokens`, `cache_read_tokens`,
            `output_tokens`, `requests`, `results`, `cpu_milliseconds`, ….
    """

    usd_per_unit: Mapping[str, Decimal]
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> tuple[Mapping[str, Decimal], int | None]:
        """The list for an input of so many tokens, and the threshold that it is above, if it is above any."""
        for tier in reversed(self.tiers):
            if input_tokens > tier.above_input_tokens:
                return tier.usd_per_unit, tier.above_input_tokens
        return self.usd_per_unit, None

    def reachable(self, input_tokens: int) -> Iterator[Mapping[str, Decimal]]:
        """Every list that a request of at most so many input tokens can be priced by."""
        yield self.usd_per_unit
        yield from (tier.usd_per_unit for tier in self.tiers if input_tokens > tier.above_input_tokens)


@dataclass(frozen=True)
class UnitPrices:
    """The unit prices of one model or tool at one moment.

    Attributes:
        provider: who is paid, such as `openai`.
        name: the model or the tool.
        version: where the prices come from, such as `genai-prices 0.2.3` or `settings`.
        usd_per_unit: as in `Rates`.
        tiers: as in `Rates`.
        service_tiers: what the vendor's other service tiers price differently, should one of them serve a request.
    """

    provider: str
    name: str
    version: str
    usd_per_unit: Mapping[str, Decimal]
    tiers: tuple[Tier, ...] = ()
    service_tiers: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def rates(self) -> Rates:
        """The prices of the service tier that is asked for, the vendor's default."""
        return Rates(self.usd_per_unit, self.tiers)


@dataclass(frozen=True)
class Applied:
    """The one price list that makes the cost of certain quantities.

    Attributes:
        usd_per_unit: bucket → dollars per single unit.
        above_input_tokens: the threshold that the input was above; None below all.
        service_tier: the vendor's, where it is not the default one.
    """

    usd_per_unit: Mapping[str, Decimal]
    above_input_tokens: int | None = None
    service_tier: str | None = None


@dataclass(frozen=True)
class Dearest:
    """The most that a request can cost: so much per token of its input and its output, and so much by itself."""

    input_usd: Decimal
    output_usd: Decimal
    request_usd: Decimal


def applied(prices: UnitPrices, quantities: Mapping[str, int]) -> Applied:
    """The price list by which these quantities are paid for: by service tier, and by the size of the whole input."""
    tier = next((name for name in prices.service_tiers if quantities.get(SERVICE_TIER + name)), None)
    input_tokens = sum(abs(quantities.get(bucket, 0)) for bucket in INPUT_BUCKETS)  # a reversal's are negative
    usd_per_unit, above = prices.rates.at(input_tokens)
    if tier is not None:
        different, above_there = prices.service_tiers[tier].at(input_tokens)
        usd_per_unit, above = {**usd_per_unit, **different}, above_there
    return Applied(usd_per_unit, above, tier)


def cost_usd(prices: UnitPrices, quantities: Mapping[str, int]) -> Decimal:
    """The exact cost in dollars of these quantities.

    Raises:
        UnpricedQuantity: for a quantity above zero in a bucket without a price.
        ValueError: for a negative quantity.
    """
    total = Decimal(0)
    usd_per_unit = applied(prices, quantities).usd_per_unit
    with localcontext(_EXACT):
        for bucket, quantity in quantities.items():
            if quantity < 0:
                raise ValueError(f"{quantity} {bucket} cannot have been used.")
            if quantity == 0 or names_a_tier(prices, bucket):
                continue
            if bucket not in usd_per_unit:
                raise UnpricedQuantity(f"{prices.provider}'s {prices.name} has no price for {bucket}.")
            total += usd_per_unit[bucket] * quantity
    return total


def names_a_tier(prices: UnitPrices, bucket: str) -> bool:
    """Whether this is no quantity, but says which service tier the others are priced by."""
    return bucket.startswith(SERVICE_TIER) and bucket.removeprefix(SERVICE_TIER) in prices.service_tiers


def dearest(prices: UnitPrices, input_tokens: int) -> Dearest:
    """What a request of texts with at most so many input tokens can cost, whatever its tokens turn out to be.

    All cliffs that it can reach count, and every token is taken for one of the dearest kind, as a cache write is.
    """
    lists = list(prices.rates.reachable(input_tokens))

    def most(buckets: tuple[str, ...]) -> Decimal:
        return max((rates[bucket] for rates in lists for bucket in buckets if bucket in rates), default=Decimal(0))

    return Dearest(most(TEXT_INPUT_BUCKETS), most(TEXT_OUTPUT_BUCKETS), most((REQUESTS,)))


def by_the_request(prices: UnitPrices) -> dict[str, int]:
    """What every request is counted as beside its tokens: one request, where that has a price."""
    return {REQUESTS: 1} if REQUESTS in prices.usd_per_unit else {}


def has_output(quantities: Mapping[str, int]) -> bool:
    """Whether some of a model's answer is among the quantities. Of a tool nothing is there before it has ended."""
    return any(quantities.get(bucket) for bucket in OUTPUT_BUCKETS)


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
    stored = {"provider": prices.provider, "name": prices.name, "version": prices.version, **_rates_json(prices.rates)}
    if prices.service_tiers:
        stored["service_tiers"] = {name: _rates_json(rates) for name, rates in prices.service_tiers.items()}
    return stored


def from_json(stored: Mapping[str, Any]) -> UnitPrices:
    """The inverse of `as_json`; rows from before there were tiers have none."""
    rates = _rates(stored)
    return UnitPrices(
        provider=stored["provider"], name=stored["name"], version=stored["version"],
        usd_per_unit=rates.usd_per_unit, tiers=rates.tiers,
        service_tiers={name: _rates(tier) for name, tier in stored.get("service_tiers", {}).items()},
    )


def _rates_json(rates: Rates) -> dict[str, Any]:
    stored: dict[str, Any] = {"usd_per_unit": _texts(rates.usd_per_unit)}
    if rates.tiers:
        stored["tiers"] = [
            {"above_input_tokens": tier.above_input_tokens, "usd_per_unit": _texts(tier.usd_per_unit)}
            for tier in rates.tiers
        ]
    return stored


def _rates(stored: Mapping[str, Any]) -> Rates:
    return Rates(_decimals(stored["usd_per_unit"]), tuple(
        Tier(int(tier["above_input_tokens"]), _decimals(tier["usd_per_unit"])) for tier in stored.get("tiers", ())
    ))


def _texts(usd_per_unit: Mapping[str, Decimal]) -> dict[str, str]:
    return {bucket: str(value) for bucket, value in usd_per_unit.items()}


def _decimals(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {bucket: Decimal(text) for bucket, text in texts.items()}
