"""The Send Email Hook: how hosted Supabase hands its mail to the app, signed, impatient, and inside the request."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from typing import Any

import httpx

from emulators.config import Config
from emulators.supabase.errors import AuthError

PATH = "/api/hooks/send-email"
ATTEMPTS = 3
PAYLOAD_LIMIT_BYTES = 200 * 1024


class Hook:
    """Calls the app. Timeout, attempts and errors are those of the auth server of August 2026."""

    def __init__(self, config: Config) -> None:
        self._url = config.app_url + PATH
        self._secrets = config.send_email_hook_secret.split("|")
        self._timeout_seconds = config.hook_timeout_seconds
        self._backoff_seconds = config.hook_backoff_seconds

    async def send(self, payload: dict[str, Any]) -> None:
        """Deliver, or raise the AuthError with which the calling request fails (nothing is kept then)."""
        content = json.dumps(payload).encode()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async with httpx.AsyncClient(timeout=self._timeout_seconds) as client:
                    await self._attempt(client, content)
        except (TimeoutError, httpx.TimeoutException) as error:
            seconds = f"{self._timeout_seconds:f}"
            message = f"Failed to reach hook within maximum time of {seconds} seconds"
            raise AuthError(422, "hook_timeout", message) from error

    async def _attempt(self, client: httpx.AsyncClient, content: bytes) -> None:
        for attempt in range(ATTEMPTS):
            try:
                response = await client.post(self._url, content=content, headers=self._headers(content))
            except httpx.TimeoutException:
                raise
            except httpx.TransportError as error:
                if attempt == ATTEMPTS - 1:
                    message = "Failed to reach hook after maximum retries"
                    raise AuthError(422, "hook_timeout_after_retry", message) from error
                await asyncio.sleep(self._backoff_seconds)
                continue
            if response.status_code in (429, 503) and response.headers.get("retry-after"):
                continue  # the server asks again at once: it only looks whether the header is there
            _check(response)
            return
        raise AuthError(500, "", "Service currently unavailable due to hook")

    def _headers(self, content: bytes) -> dict[str, str]:
        """Standard Webhooks, with a new id per attempt; several signatures are joined by a comma and a space."""
        webhook_id, timestamp = str(uuid.uuid4()), str(int(time.time()))
        signed = f"{webhook_id}.{timestamp}.".encode() + content
        signatures = [_signature(secret, signed) for secret in self._secrets]
        return {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": ", ".join(signatures),
        }


def _signature(secret: str, signed: bytes) -> str:
    """`v1,<base64>` for a secret in the form `v1,whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix("v1,").removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _check(response: httpx.Response) -> None:
    """Return if the app accepted the mail, else raise what the server makes of the answer."""
    status = response.status_code
    if status == 204:
        return
    if status in (200, 202):
        _check_body(response)
        return
    messages = {
        429: "Service currently unavailable due to hook",
        503: "Service currently unavailable due to hook",
        400: "Invalid payload sent to hook",
        401: "Hook requires authorization token",
    }
    raise AuthError(500, "", messages.get(status, f"Unexpected status code returned from hook: {status}"))


def _check_body(response: httpx.Response) -> None:
    content_type = response.headers.get("content-type", "")
    if not content_type:
        message = "Invalid Content-Type: Missing Content-Type header"
        raise AuthError(400, "hook_payload_invalid_content_type", message)
    if content_type.split(";")[0].strip().lower() != "application/json":
        message = f"Invalid JSON response. Received content-type: {content_type}"
        raise AuthError(400, "hook_payload_invalid_content_type", message)
    if len(response.content) > PAYLOAD_LIMIT_BYTES:
        message = f"Payload size exceeded size limit of {PAYLOAD_LIMIT_BYTES} bytes"
        raise AuthError(422, "hook_payload_over_size_limit", message)
    try:
        body = response.json()
    except ValueError as error:
        raise AuthError(500, "", "Error unmarshaling JSON output.") from error
    refusal = body.get("error") if isinstance(body, dict) else None
    if isinstance(refusal, dict) and refusal.get("message"):
        raise AuthError(int(refusal.get("http_code") or 500), "", str(refusal["message"]))
