"""The queue of webhooks: what happened is written for every endpoint that wants to know, in the same transaction."""

from __future__ import annotations

import json
import time
from typing import Any

from emulators.faults import Fault
from emulators.polar.context import Polar, stamp
from emulators.polar.tables import Document, new_id

API_VERSION = "2026-10"


def emit(polar: Polar, kind: str, data: Document) -> None:
    """Queue a webhook of that type for each enabled endpoint that subscribed to it."""
    now = polar.now()
    for endpoint in polar.tables.find("webhook_endpoint"):
        if endpoint["enabled"] and kind in endpoint["events"]:
            payload = {"type": kind, "timestamp": stamp(now), "api_version": endpoint["api_version"], "data": data}
            _queue(polar, endpoint["id"], kind, payload)


def _queue(polar: Polar, endpoint_id: str, kind: str, payload: dict[str, Any]) -> None:
    late = polar.world.faults.take("polar", Fault.WEBHOOK_LATE, kind)
    polar.tables.write(
        "INSERT INTO polar_webhook_event (id, endpoint_id, type, payload, created_at, next_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        new_id(), endpoint_id, kind, json.dumps(payload, separators=(",", ":")), payload["timestamp"],
        time.time() + (late or 0.0))
