"""The units that a model's usage is counted in, and how overlapping counts become disjoint buckets.

Vendors count in parts that contain each other: cached tokens are inside the input, cached audio is inside the cached
tokens and inside the audio. A token is paid for once, so each is put into the one bucket that describes it best among
those that have a price; a part without a price of its own stays in the part that contains it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

OUTPUT_BUCKET: Final = "output_tokens"
REQUESTS: Final = "requests"
SERVICE_TIER: Final = "service_tier_"
"""`service_tier_priority: 1` among the quantities says which of the model's price tables applies. It has no price."""

_INPUT = {
    "input_tokens": "",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "cache_write_5m_tokens": "cache_write 5m",
    "cache_write_1h_tokens": "cache_write 1h",
    "input_audio_tokens": "audio",
    "cache_audio_read_tokens": "audio cache_read",
    "input_image_tokens": "image",
    "cache_image_read_tokens": "image cache_read",
    "input_video_tokens": "video",
    "cache_video_read_tokens": "video cache_read",
}
_OUTPUT = {
    OUTPUT_BUCKET: "",
    "output_reasoning_tokens": "reasoning",
    "output_audio_tokens": "audio",
    "output_image_tokens": "image",
    "output_video_tokens": "video",
}
INPUT_BUCKETS = tuple(_INPUT)
"""Everything that is read. `input_tokens` are those that are nothing more special; all together are the input."""
OUTPUT_BUCKETS = tuple(_OUTPUT)
TEXT_INPUT_BUCKETS = tuple(bucket for bucket, kind in _INPUT.items() if not kind or kind.startswith("cache"))
"""What a request of texts, which is all that is ever sent, can fall into."""
TEXT_OUTPUT_BUCKETS = (OUTPUT_BUCKET, "output_reasoning_tokens")
COUNTS = (REQUESTS, "web_searches", "social_searches", "storage_searches", "code_executions")
"""What is paid by the piece, beside the tokens."""

_MODALITIES = frozenset({"audio", "image", "video"})
KINDS = {
    bucket: frozenset({direction, *kind.split()})
    for direction, buckets in (("input", _INPUT), ("output", _OUTPUT)) for bucket, kind in buckets.items()
}
"""What a token is; a bucket contains those whose set includes its own."""
KNOWN = frozenset({*KINDS, *COUNTS})


def disjoint(reported: Mapping[str, int], priced: Collection[str]) -> dict[str, int]:
    """Overlapping counts as disjoint ones, in the buckets that have a price.

    Where the parts come to more than what contains them, the parts stand: the vendor has named them.

    Args:
        reported: unit → count, each with everything that it contains.
        priced: the buckets that have a price, `input_tokens` and `output_tokens` among them.

    Returns:
        The buckets above zero, `input_tokens` and `output_tokens` always.
    """
    found: dict[str, int] = {}
    for bucket in sorted(KINDS.keys() & set(priced), key=lambda name: (-len(KINDS[name]), name)):
        inside = sum(count for part, count in found.items() if KINDS[part] > KINDS[bucket])
        found[bucket] = max(0, reported.get(bucket, 0) - inside)
    always = ("input_tokens", OUTPUT_BUCKET)
    tokens = {bucket: found[bucket] for bucket in KINDS if bucket in found and (found[bucket] or bucket in always)}
    return tokens | {unit: reported[unit] for unit in COUNTS if unit in priced and reported.get(unit)}


def doubtful(reported: Mapping[str, int], priced: Collection[str]) -> list[str]:
    """What was used and has no known price: searches, seconds, or sounds, pictures and films priced as if text."""
    return sorted(
        unit for unit, count in reported.items()
        if count and unit not in priced and not _is_text(unit)
    )


def is_known(unit: str) -> bool:
    """Whether usage in this unit can be counted here."""
    return unit in KNOWN


def _is_text(unit: str) -> bool:
    if unit in KINDS:
        return not KINDS[unit] & _MODALITIES
    return unit.endswith("_tokens") and not any(modality in unit for modality in _MODALITIES)
