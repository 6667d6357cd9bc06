"""Resend through its own SDK: one mail, once.

The SDK keeps its key, address and HTTP client in module globals. Here one transport stands in the SDK's global place
and takes key and address from the call's own context, so that two accounts in one process never mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import httpx
import resend
from resend.exceptions import ResendError
from resend.http_client_async import AsyncHTTPClient

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.settings import Vendor

TIMEOUT = httpx.Timeout(10, connect=5)
ACCOUNT_TROUBLE_RETRY_SECONDS = 300.0
"""How long to wait when Resend refuses our key or our domain: that is mended by the operator, not by dropping mail."""

_vendor: ContextVar[Vendor] = ContextVar("resend_vendor")


class Resend:
    """One Resend account."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        resend.default_async_http_client = _Transport()

    async def send(self, *, sender: str, to: str, subject: str, html: str, text: str, key: str) -> str:
        """Send one mail and return Resend's id of it.

        Args:
            sender: `Name <mail@a.verified.domain>`.
            to: one address.
            subject: one line.
            html: the whole document.
            text: the same for readers without HTML.
            key: idempotency key: within 24 hours a repetition sends nothing and answers the same id.

        Raises:
            Unavailable: no answer, 429 (rate or quota), 5xx, or a key or domain that Resend does not accept yet.
            Rejected: this mail will never be sent (a malformed address, another mail under the same key).
        """
        token = _vendor.set(self._vendor)
        try:
            sent = await resend.Emails.send_async(
                {"from": sender, "to": [to], "subject": subject, "html": html, "text": text}, {"idempotency_key": key}
            )
        except ResendError as error:
            raise _translated(error) from error
        finally:
            _vendor.reset(token)
        return str(sent["id"])


class _Transport(AsyncHTTPClient):
    """Carries the SDK's requests to the address, and with the key, of the vendor in the context."""

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: dict[str, object] | list[object] | None = None,
        files: dict[str, Any] | None = None,
        data: dict[str, str] | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request of the SDK; `files` and `data` belong to uploads, which no mail of ours has.

        A call of the SDK that is not ours has no vendor in its context, and goes where the SDK's globals say.
        """
        vendor = _vendor.get(None)
        address, own = url, dict(headers)
        if vendor is not None:
            address = vendor.url + url.removeprefix(resend.api_url)
            own["Authorization"] = f"Bearer {vendor.key}"
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            response = await client.request(method, address, headers=own, json=json)
        return response.content, response.status_code, response.headers


def _translated(error: ResendError) -> Exception:
    """Ours for the SDK's. It wraps whatever the transport raised as a 500 of type HttpClientError."""
    if error.error_type == "HttpClientError":
        cause = error.__context__
        unsent = isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout))
        return Unavailable(f"Resend cannot be reached: {cause!r}", may_have_run=not unsent)
    status = int(error.code)
    message = f"Resend answered {status} {error.error_type}: {error.message}"
    if status in (401, 403):
        return Unavailable(message, retry_after_seconds=ACCOUNT_TROUBLE_RETRY_SECONDS)
    if status == 429 or status >= 500 or error.error_type == "concurrent_idempotent_requests":
        return Unavailable(message, retry_after_seconds=_retry_after(error), may_have_run=status >= 500)
    return Rejected(message, status=status)


def _retry_after(error: ResendError) -> float | None:
    text = error.headers.get("retry-after", "")
    return float(text) if text.replace(".", "", 1).isdigit() else None
