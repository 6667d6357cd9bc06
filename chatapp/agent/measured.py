"""A vendor's measurement of a request, in the disjoint buckets that have a price.

On service tiers: OpenAI prices a request by the tier that served it (`default`, `flex`, `priority`), and says which in
its answer. The default is asked for explicitly where the price book knows that the vendor has others; elsewhere
nothing is said, since other servers refuse what they do not know. No other tier is ever asked for. An answer that came
by another one all the same is priced by the book's prices for it; if the book has none, the row is not exact.
(Anthropic's own API has tiers, too, but is not spoken here, and pydantic-ai 2.62 does not tell which one it used.)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from pydantic_ai.messages import ModelResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from chatapp.billing import buckets
from chatapp.billing.buckets import INPUT_BUCKETS, OUTPUT_BUCKET, OUTPUT_BUCKETS, SERVICE_TIER
from chatapp.billing.pricing import UnitPrices, by_the_request

_DEFAULT_TIERS = frozenset({"default", "standard", "on_demand", "auto"})
"""What vendors call the tier of their list prices."""

_log = logging.getLogger(__name__)


def quantities(response: ModelResponse, prices: UnitPrices) -> dict[str, int]:
    """What the measurement counts, each token once, and what prices it beside them: the request, the service tier."""
    tier = _service_tier(response)
    return {
        **buckets.disjoint(_reported(response.usage), prices.usd_per_unit), **by_the_request(prices),
        **({SERVICE_TIER + tier: 1} if tier in prices.service_tiers else {}),
    }


def is_exact(response: ModelResponse, prices: UnitPrices) -> bool:
    """Whether the prices are known to be those of everything that the measurement counts."""
    unknown = buckets.doubtful(_reported(response.usage), prices.usd_per_unit)
    tier = _service_tier(response)
    if tier and tier not in prices.service_tiers:
        unknown.append(f"service tier {tier}")
    if unknown:
        _log.error("%s's %s was charged as if it were priced like text of the default tier: its price has nothing "
                   "for %s. MODEL_PRICE can say what it costs.", prices.provider, prices.name, ", ".join(unknown))
    return not unknown


def at_least(reported: Mapping[str, int], estimated: Mapping[str, int]) -> dict[str, int]:
    """An unfinished answer's quantities: the vendor's input where it said one, and the larger of both outputs."""
    known_input = {bucket: reported[bucket] for bucket in INPUT_BUCKETS if reported.get(bucket)}
    output = {bucket: reported[bucket] for bucket in OUTPUT_BUCKETS if reported.get(bucket)}
    if sum(output.values()) < estimated[OUTPUT_BUCKET]:
        output = {OUTPUT_BUCKET: estimated[OUTPUT_BUCKET]}
    rest = {unit: count for unit, count in reported.items() if unit not in (*INPUT_BUCKETS, *OUTPUT_BUCKETS)}
    return {**(known_input or {"input_tokens": estimated["input_tokens"]}), OUTPUT_BUCKET: 0, **output, **rest}


def ask_for_default_tier(settings: ModelSettings, prices: UnitPrices) -> None:
    """Let the request be served at the list prices, whatever the vendor's account is set to."""
    settings.pop("service_tier", None)
    if prices.service_tiers:
        settings["service_tier"] = "default"


def _reported(usage: RequestUsage) -> dict[str, int]:
    """Every count of the measurement, also those that the library has no field for; parts of a unit count as one."""
    return {
        unit: math.ceil(count) for unit, count in vars(usage).items()
        if isinstance(count, int | float) and unit != "unmeasured_requests" and count > 0
    }


def _service_tier(response: ModelResponse) -> str:
    """The tier that the answer names, if it is not the default one."""
    named = (response.provider_details or {}).get("service_tier")
    return "" if not isinstance(named, str) or named.lower() in _DEFAULT_TIERS else named.lower()
