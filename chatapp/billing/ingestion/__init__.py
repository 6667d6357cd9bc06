"""Durable ingestion of events of one's own: the small public API. See `docs/ingestion.md`."""

from chatapp.billing.ingestion.drafts import DRAFT_LEASE, Draft
from chatapp.billing.ingestion.events import Event, InvalidEvent, Llm, Value
from chatapp.billing.ingestion.known_cost import known_cost_usd
from chatapp.billing.ingestion.polar_ingestion import KeyReused, PolarIngestion, UnknownAccount

__all__ = [
    "DRAFT_LEASE", "Draft", "Event", "InvalidEvent", "KeyReused", "Llm", "PolarIngestion", "UnknownAccount", "Value",
    "known_cost_usd",
]
