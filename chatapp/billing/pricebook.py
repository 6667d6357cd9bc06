"""The price of a model: the operator's own (MODEL_PRICE) or the price book's, never a guess and never zero.

The price book is asked by the endpoint's address. A server of one's own that offers a model with a famous name is
therefore never priced as the famous one: it needs MODEL_PRICE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from urllib.parse import urlsplit

from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from chatapp.billing.buckets import OUTPUT_BUCKET, REQUESTS, is_known
from chatapp.billing.pricing import Rates, Tier, UnitPrices
from chatapp.settings import ModelPrice as OwnPrice
from chatapp.settings import Settings

SETTING = "MODEL_PRICE"
TOKENS_PER_PRICE = 1_000_000

_Book = Mapping[str, Decimal | TieredPrices]
"""Price keys of genai-prices and what they cost, in its own units."""
_UNITS: Mapping[str, tuple[str, int]] = {
    str(unit["price_key"]): (bucket, int(unit["per"])) for bucket, unit in unit_data.items()
}
"""Price key → the unit it prices, and how many units one price is for."""
_SEARCHES = re.compile(r"-search-|deep-research|sonar")
"""Models that search the web unasked. Vendors charge each search, and do not say in an answer how many there were."""
_INHERITED = (
    ("cache_read_tokens", "input_tokens"), ("cache_write_tokens", "input_tokens"),
    ("cache_write_1h_tokens", "cache_write_tokens"), ("cache_audio_read_tokens", "input_audio_tokens"),
    ("cache_image_read_tokens", "input_image_tokens"), ("cache_video_read_tokens", "input_video_tokens"),
)
"""What a part costs that has no price of its own: as much as what contains it. Kept apart, so that rows show it."""


class UnpricedModel(Exception):
    """The model's price is not known, so it is refused before it is called.

    Attributes:
        text: what the person is told.
        setting: the variable by which the operator gives the price.
    """

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"The model {model!r} has no usable price, so it is not called. {why} "
                         f"Set {SETTING}=input/output in dollars per million tokens for {model!r}.")
        self.text = (f"The model {model} has no known price, so it cannot be used yet. "
                     f"The operator has to set {SETTING}.")
        self.setting = SETTING


def unit_prices(settings: Settings, model: str, *, now: datetime) -> UnitPrices:
    """The unit prices of a model at the configured endpoint, for a request that is sent now.

    Prices that began on a date, or hold for some hours of the day, are those of that moment. Prices that rise with
    the size of the input come with all of their cliffs, since the size is known only when it is measured. Where the
    book knows the vendor's service tiers, they come too; the default one is what is asked for.

    Raises:
        UnpricedModel: no price is known, or it has parts that are not metered here.
    """
    own = settings.model_prices.get(model, settings.model_price)
    if own is not None:
        return UnitPrices((urlsplit(settings.llm.url).hostname or "endpoint")[:50], model, "settings", _own_rates(own))
    provider, info = _find(settings, model)
    rates = _rates(model, info, info.get_prices(now))
    return UnitPrices(
        provider.id, model, _book_version(), rates.usd_per_unit, rates.tiers,
        _service_tiers(model, info, now) if any(info is known for known in provider.models) else {},
    )


@cache
def _book_version() -> str:
    return f"genai-prices {version('genai-prices')}"


def _own_rates(own: OwnPrice) -> dict[str, Decimal]:
    """The operator's table. Zero is a price like any other; a part that is not in it costs what contains it."""
    per_million = {
        "input_tokens": own.input_usd_per_million, OUTPUT_BUCKET: own.output_usd_per_million,
        "cache_read_tokens": own.cache_read_usd_per_million, "cache_write_tokens": own.cache_write_usd_per_million,
        "cache_write_1h_tokens": own.cache_write_1h_usd_per_million,
        "output_reasoning_tokens": own.reasoning_usd_per_million,
    }
    rates = {bucket: price / TOKENS_PER_PRICE for bucket, price in per_million.items() if price is not None}
    return _complete(rates | ({} if own.request_usd is None else {REQUESTS: own.request_usd}))


def _find(settings: Settings, model: str) -> tuple[Provider, ModelInfo]:
    try:
        return get_snapshot().find_provider_model(model, None, None, settings.llm.url)
    except LookupError as error:
        raise UnpricedModel(model, f"The price book does not know it at {settings.llm.url}: {error}.") from error


def _service_tiers(model: str, info: ModelInfo, now: datetime) -> dict[str, Rates]:
    """What other service tiers price differently from the default one, which is the one that is asked for."""
    names = {variant.when["service_tier"] for variant in info.price_variants or ()
             if variant.when.keys() == {"service_tier"}}
    standard, found = info.get_prices(now), dict[str, Rates]()
    for name in sorted(names):
        prices = info.get_prices(now, {"service_tier": name})
        if prices != standard:
            found[name] = _different(_rates(model, info, prices), _rates(model, info, standard))
    return found


def _different(rates: Rates, standard: Rates) -> Rates:
    starts = sorted({tier.above_input_tokens for tier in (*rates.tiers, *standard.tiers)})

    def at(input_tokens: int) -> dict[str, Decimal]:
        default, _ = standard.at(input_tokens)
        return {bucket: price for bucket, price in rates.at(input_tokens)[0].items() if price != default.get(bucket)}

    return Rates(at(0), tuple(Tier(start, at(start + 1)) for start in starts))


def _rates(model: str, info: ModelInfo, prices: ModelPrice) -> Rates:
    book: _Book = {key: value for key, value in vars(prices).items() if value is not None}
    _refuse_unmetered(model, info, book)
    starts = sorted({tier.start for value in book.values() if isinstance(value, TieredPrices) for tier in value.tiers})
    return Rates(_per_unit(book, 0), tuple(Tier(start, _per_unit(book, start + 1)) for start in starts))


def _refuse_unmetered(model: str, info: ModelInfo, book: _Book) -> None:
    unmetered = sorted(key for key in book if key not in _UNITS or not is_known(_UNITS[key][0]))
    if unmetered:
        raise UnpricedModel(model, f"Its price has parts that are not metered here: {', '.join(unmetered)}.")
    if "input_mtok" not in book or "output_mtok" not in book:
        raise UnpricedModel(model, "The price book has no token price for it.")
    if _SEARCHES.search(info.id) and "requests_kcount" not in book:
        raise UnpricedModel(model, "It searches the web by itself, which is charged and not metered here.")


def _per_unit(book: _Book, input_tokens: int) -> dict[str, Decimal]:
    """The price list for an input of so many tokens, per single unit."""
    rates = {_UNITS[key][0]: _at(value, input_tokens) / _UNITS[key][1] for key, value in book.items()}
    return _complete(rates)


def _at(value: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    """The whole input decides, and every token of the request has the price of the highest cliff that it is above."""
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if input_tokens > tier.start), value.base)


def _complete(rates: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The price list with its inherited prices."""
    found = dict(rates)
    for bucket, container in _INHERITED:
        if bucket not in found and container in found:
            found[bucket] = found[container]
    return found
