"""A ledger row as the event that Polar receives. Decimals travel as text until the client sends them."""

from __future__ import annotations

from typing import Any

from chatapp.billing.buckets import INPUT_BUCKETS, KINDS, OUTPUT_BUCKETS
from chatapp.billing.hold_rows import CUSTOMER
from chatapp.billing.money import NANO_PER_CENT, microusd, usd
from chatapp.models import UsageEvent

BILLED, INCLUDED = "usage", "usage.included"
"""Event names: the priced meter filters on the first, so that the second is never billed."""
CHARGE_PROPERTY = "charge_microusd"
"""What the priced meter sums: micro-dollars with at most three decimals."""
MAX_COST_CENTS = 99_999
"""Polar takes at most five digits before the point of `_cost`."""
MAX_TEXT = 500


def payload_of(event: UsageEvent) -> dict[str, Any]:
    """The outbox payload: the event's name, ids and time, its metadata, and its decimal `numbers` as text."""
    return {
        "name": BILLED if event.billable else INCLUDED,
        "external_id": event.id,
        "external_customer_id": event.account_id,
        "occurred_at": event.occurred_at.isoformat(),
        "metadata": _metadata(event),
        "numbers": {CHARGE_PROPERTY: format(microusd(event.charge_nanousd), "f")},
    }


def _metadata(event: UsageEvent) -> dict[str, Any]:
    texts = {
        "kind": event.kind, "provider": event.provider, event.kind: event.name, "turn": event.turn_id,
        "thread": event.thread_id, "status": event.status, "plan": event.terms["plan"],
    }
    metadata: dict[str, Any] = {key: text[:MAX_TEXT] for key, text in texts.items() if text}
    metadata |= {bucket: int(quantity) for bucket, quantity in event.quantities.items()}
    metadata["exact"] = event.exact
    if event.corrects:
        metadata["corrects"] = event.corrects
    if event.bearer != CUSTOMER:
        metadata["bearer"] = event.bearer
    if abs(event.cost_nanousd) <= MAX_COST_CENTS * NANO_PER_CENT:
        metadata["_cost"] = {"amount": format(usd(event.cost_nanousd) * 100, "f"), "currency": "usd"}
    if event.kind == "model" and event.cost_nanousd >= 0:  # a reversal has no number of tokens that a vendor could know
        metadata["_llm"] = _llm(event)
    return metadata


def _llm(event: UsageEvent) -> dict[str, Any]:
    tokens = {bucket: int(event.quantities.get(bucket, 0)) for bucket in KINDS}
    input_tokens, output_tokens = (sum(tokens[bucket] for bucket in group) for group in (INPUT_BUCKETS, OUTPUT_BUCKETS))
    cached_tokens = sum(tokens[bucket] for bucket in INPUT_BUCKETS if "cache_read" in KINDS[bucket])
    return {
        "vendor": event.provider[:MAX_TEXT] or "unknown", "model": event.name[:MAX_TEXT] or "unknown",
        "input_tokens": input_tokens, "cached_input_tokens": cached_tokens,
        "output_tokens": output_tokens, "total_tokens": input_tokens + output_tokens,
    }
