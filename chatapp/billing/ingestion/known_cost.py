"""What a measured model request cost, by the price book; None where the price book does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from genai_prices import calc_price


def known_cost_usd(
    usage: object, model: str | None, *, url: str | None, provider: str | None, at: datetime,
    details: Mapping[str, object] | None = None,
) -> Decimal | None:
    """The cost in dollars; None if it is unknown, which is not zero.

    An endpoint that has an address is known by it alone: a server of one's own that offers a model with a famous name
    costs what its owner says, and not what the famous one costs.

    Args:
        usage: token counts in genai-prices' form, such as pydantic-ai's `RequestUsage`.
        model: as the provider calls it.
        url: the endpoint's address.
        provider: the provider's id, asked only where there is no address.
        at: when it was requested; prices change.
        details: what the provider said of the response, such as its service tier.
    """
    if not model or not (url or provider):
        return None
    context = {key: value for key, value in (details or {}).items() if isinstance(value, str)}
    try:
        if url:
            priced = calc_price(usage, model, provider_api_url=url, genai_request_timestamp=at, price_context=context)
        else:
            priced = calc_price(usage, model, provider_id=provider, genai_request_timestamp=at, price_context=context)
    except (LookupError, ValueError):  # not in the book, or counts that contradict each other
        return None
    return priced.total_price
