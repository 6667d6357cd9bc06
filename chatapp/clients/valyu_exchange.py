"""Valyu's raw answers: what really came back and what it cost, which the SDK hides."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.text import storable_data


@dataclass
class Exchange:
    """One request's raw answer, or why there is none; the recording client fills it in for the current task."""

    response: httpx.Response | None = None
    error: httpx.HTTPError | None = None
    _tokens: list[Any] = field(default_factory=list)

    def __enter__(self) -> Exchange:
        self._tokens.append(_CURRENT.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._tokens.pop())

    def outcome(self, cost_field: str) -> tuple[dict[str, Any], Decimal | None]:
        """The answer's body and what it says was charged, or the error that it means."""
        if self.error is not None:
            sent = not isinstance(self.error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            reason = str(self.error) or type(self.error).__name__
            raise Unavailable(f"Valyu did not answer: {reason}", may_have_run=sent) from self.error
        if self.response is None:
            raise Rejected("Valyu's SDK refused the request before sending it")
        status, body = self.response.status_code, _object(self.response.text)
        cost = decimal((body or {}).get(cost_field))
        if body is not None and status < 300 and body.get("success") is not False:
            return body, cost
        raise self._failure(status, body, cost)

    def _failure(self, status: int, body: dict[str, Any] | None, cost: Decimal | None) -> Unavailable | Rejected:
        assert self.response is not None
        message = f"Valyu answered {status}: {(body or {}).get('error') or 'nothing readable'}"
        if cost:  # it was paid for: to repeat it would cost again
            return Rejected(message, status=status, cost_usd=cost)
        if status == 429:
            return Unavailable(message, retry_after_seconds=_retry_after(self.response, body))
        if status >= 500 or body is None:
            return Unavailable(message, may_have_run=cost is None)
        return Rejected(message, status=status)


_CURRENT: ContextVar[Exchange | None] = ContextVar("valyu_exchange", default=None)


class RecordingClient(httpx.AsyncClient):
    """An HTTP client that tells the current exchange what came back; the SDK hides it."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - as in httpx
        """Send, and record the answer (read to its end) or the error."""
        exchange = _CURRENT.get()
        try:
            response = await super().send(request, **options)
        except httpx.HTTPError as error:
            if exchange is not None:
                exchange.error = error
            raise
        if exchange is not None:
            exchange.response = response
        return response


def _object(text: str) -> dict[str, Any] | None:
    """A JSON object with exact decimals and storable texts, or None if the text is anything else."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return None
    return storable_data(value) if isinstance(value, dict) else None


def decimal(value: object) -> Decimal | None:
    """A number as `_object` reads it, exact; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return None
    return Decimal(value)


def _retry_after(response: httpx.Response, body: dict[str, Any] | None) -> float | None:
    """Seconds to wait, from the body or the header; None if neither says so as a number."""
    given = (body or {}).get("retry_after", response.headers.get("retry-after"))
    try:
        return None if given is None else float(given)
    except ValueError:
        return None
