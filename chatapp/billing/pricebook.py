"""The price of a model: the operator's own (MODEL_PRICE) or the price book's, never a guess and never zero.

The price book is asked by the endpoint's address. A server of one's own that offers a model with a famous name is
therefore never priced as the famous one: it needs MODEL_PRICE.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from importlib.metadata import version
from urllib.parse import urlsplit

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from chatapp.billing.pricing import UnitPrices
from chatapp.db import now
from chatapp.settings import Settings

SETTING = "MODEL_PRICE"
TOKENS_PER_PRICE = 1_000_000
_UNMETERED = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Prices on top of the tokens that we count. A model with one of them would be undercharged: it is refused."""


class UnpricedModel(Exception):
    """The model's price is not known, so it is refused before it is called.

    Attributes:
        text: what the person is told.
        setting: the variable by which the operator gives the price.
    """

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"{why} Set {SETTING}=input/output in dollars per million tokens for {model!r}.")
        self.text = "This model has no known price, so it cannot be used yet. The operator has to set one."
        self.setting = SETTING


def unit_prices(settings: Settings, model: str, *, input_tokens_at_most: int | None = None) -> UnitPrices:
    """The unit prices of a model at the configured endpoint.

    A price that rises with the length of the input is a cliff: beyond the threshold every token costs more. Which
    side a request falls on is known only when it is measured, so the dearest rate that could apply is taken: with
    `input_tokens_at_most` the dearest up to that many input tokens, without it the dearest of all.

    Raises:
        UnpricedModel: no price is known, or it has parts that are not metered here.
    """
    if settings.model_price is not None:
        own = settings.model_price
        return UnitPrices(
            provider=(urlsplit(settings.llm.url).hostname or "endpoint")[:50], name=model, version="settings",
            usd_per_unit=_per_token({"input_mtok": own.input_usd_per_million,
                                     "output_mtok": own.output_usd_per_million}),
        )
    provider, info = _find(settings, model)
    rates = _rates(model, info.get_prices(now()), input_tokens_at_most)
    return UnitPrices(provider=provider, name=model, version=f"genai-prices {version('genai-prices')}",
                      usd_per_unit=_per_token(rates))


def _find(settings: Settings, model: str) -> tuple[str, ModelInfo]:
    try:
        provider, info = get_snapshot().find_provider_model(model, None, None, settings.llm.url)
    except LookupError as error:
        raise UnpricedModel(model, f"The price book does not know it at {settings.llm.url}: {error}.") from error
    return provider.id, info


def _rates(model: str, prices: ModelPrice, input_tokens_at_most: int | None) -> Mapping[str, Decimal]:
    known = {key: value for key, value in vars(prices).items() if value is not None}
    unmetered = sorted(key for key in _UNMETERED if key in known)
    if unmetered or "input_mtok" not in known or "output_mtok" not in known:
        raise UnpricedModel(model, f"Its price has parts that are not metered here: {', '.join(unmetered)}."
                            if unmetered else "The price book has no token price for it.")
    return {key: _dearest(value, input_tokens_at_most) for key, value in known.items()}


def _dearest(value: Decimal | TieredPrices, input_tokens_at_most: int | None) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reachable = [tier.price for tier in value.tiers
                 if input_tokens_at_most is None or input_tokens_at_most > tier.start]
    return max(value.base, *reachable) if reachable else value.base


def _per_token(usd_per_million: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Per single token, in disjoint buckets. What a cache read or wrote has the input's price unless it has its own."""
    first, output = usd_per_million["input_mtok"], usd_per_million["output_mtok"]
    write = usd_per_million.get("cache_write_mtok", first)
    rates = {
        "input_tokens": first,
        "cache_read_tokens": usd_per_million.get("cache_read_mtok", first),
        "cache_write_tokens": write,
        "cache_write_1h_tokens": usd_per_million.get("cache_write_1h_mtok", write),
        "output_tokens": output,
    }
    return {bucket: rate / TOKENS_PER_PRICE for bucket, rate in rates.items()}
