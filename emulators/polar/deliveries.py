"""Delivery of webhooks: signed as Standard Webhooks, tried again with growing pauses, in no particular order.

What is queued is in the tables: after a restart of the emulator, deliveries go on where they stopped.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import sqlite3
import time
from dataclasses import dataclass

import httpx

from emulators.faults import Fault
from emulators.polar import billing
from emulators.polar.context import Polar, stamp
from emulators.polar.tables import new_id

logger = logging.getLogger(__name__)
AT_ONCE = 16
FORGER = "whsec_bm90LXRoZS1zZWNyZXQ="


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to: the answer's status, or None and why there was none."""

    code: int | None
    response: str

    @property
    def succeeded(self) -> bool:
        """Any 2xx acknowledges."""
        return self.code is not None and 200 <= self.code < 300


def signature(secret: str, identifier: str, timestamp: int, body: str) -> str:
    """The `webhook-signature` header. The key is the UTF-8 bytes of the whole secret, prefix and all."""
    digest = hmac.new(secret.encode(), f"{identifier}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


async def run(polar: Polar) -> None:
    """Deliver and keep the clock's appointments until cancelled; wakes at once when something was queued."""
    async with httpx.AsyncClient(timeout=polar.settings.webhook_timeout_seconds, trust_env=False) as client:
        while True:
            polar.wake.clear()
            _keep_time(polar)
            if due := _due(polar):
                await asyncio.gather(*(_deliver(polar, client, row) for row in due))
                continue
            try:
                async with asyncio.timeout(_pause(polar)):
                    await polar.wake.wait()
            except TimeoutError:
                continue


def _keep_time(polar: Polar) -> None:
    """Bill what is due. A failure is logged and undone, and must not stop the deliveries."""
    try:
        billing.cycle(polar)
    except Exception:
        logger.exception("The billing cycle failed.")


def _due(polar: Polar) -> list[sqlite3.Row]:
    return polar.tables.rows(
        "SELECT * FROM polar_webhook_event WHERE next_at <= ? ORDER BY next_at LIMIT ?", time.time(), AT_ONCE)


def _pause(polar: Polar) -> float:
    """How long nothing is due, in seconds; at most a tick."""
    next_at = polar.tables.rows("SELECT min(next_at) FROM polar_webhook_event")[0][0]
    tick = polar.settings.tick_seconds
    return tick if next_at is None else min(tick, max(0.0, next_at - time.time()))


async def _deliver(polar: Polar, client: httpx.AsyncClient, row: sqlite3.Row) -> None:
    endpoint = polar.tables.get("webhook_endpoint", row["endpoint_id"])
    if endpoint is None or not endpoint["enabled"]:
        polar.tables.write("UPDATE polar_webhook_event SET next_at = NULL WHERE id = ?", row["id"])
        return
    url, secret, faults = endpoint["url"], endpoint["secret"], polar.world.faults
    if faults.take("polar", Fault.WEBHOOK_FORGED, row["type"]) is not None:
        await _send(client, url, FORGER, new_id(), row["payload"])
    outcome = await _send(client, url, secret, row["id"], row["payload"])
    _record(polar, row["id"], outcome)
    if outcome.succeeded and faults.take("polar", Fault.WEBHOOK_TWICE, row["type"]) is not None:
        _note(polar, row["id"], await _send(client, url, secret, row["id"], row["payload"]))


async def _send(client: httpx.AsyncClient, url: str, secret: str, identifier: str, body: str) -> Outcome:
    """One attempt. The timestamp is the real time, whatever the emulated clock says: receivers check it."""
    timestamp = int(time.time())
    headers = {"user-agent": "polar.sh webhooks", "content-type": "application/json", "webhook-id": identifier,
               "webhook-timestamp": str(timestamp), "webhook-signature": signature(secret, identifier, timestamp, body)}
    try:
        answer = await client.post(url, content=body.encode(), headers=headers)
    except httpx.HTTPError as error:
        return Outcome(None, f"{type(error).__name__}: {error}")
    return Outcome(answer.status_code, answer.text[:2000])


def _note(polar: Polar, event_id: str, outcome: Outcome) -> None:
    """Record an attempt."""
    polar.tables.write(
        "INSERT INTO polar_webhook_delivery (id, event_id, created_at, succeeded, http_code, response) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        new_id(), event_id, stamp(polar.now()), outcome.succeeded, outcome.code, outcome.response)


def _record(polar: Polar, event_id: str, outcome: Outcome) -> None:
    """Record an attempt and decide what follows: done, another attempt later, or given up."""
    with polar.tables.store.transaction():
        _note(polar, event_id, outcome)
        row = polar.tables.rows("SELECT * FROM polar_webhook_event WHERE id = ?", event_id)[0]
        attempts, pauses = row["attempts"] + 1, polar.settings.webhook_delays_seconds
        final = outcome.succeeded or attempts > len(pauses)
        polar.tables.write(
            "UPDATE polar_webhook_event SET attempts = ?, modified_at = ?, last_http_code = ?, succeeded = ?, "
            "next_at = ? WHERE id = ?", attempts, stamp(polar.now()), outcome.code,
            outcome.succeeded if final else None, None if final else time.time() + pauses[attempts - 1], event_id)
        if final:
            _count_failures(polar, row["endpoint_id"], succeeded=outcome.succeeded)


def _count_failures(polar: Polar, endpoint_id: str, *, succeeded: bool) -> None:
    """Disable an endpoint after too many events in a row that never arrived."""
    endpoint = polar.tables.get("webhook_endpoint", endpoint_id)
    if endpoint is None:
        return
    failures = 0 if succeeded else endpoint["_failures"] + 1
    if failures != endpoint["_failures"]:
        enabled = endpoint["enabled"] and failures < polar.settings.failures_until_disabled
        polar.tables.save({**endpoint, "_failures": failures, "enabled": enabled})
