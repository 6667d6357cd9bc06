"""What the errors of Daytona's SDK mean to us.

`code_run` raises the generated client's `ApiException` and aiohttp's own errors as they are; all other calls wrap them
in a `DaytonaError`. Both carry an HTTP status, or none if there was no answer.
"""

from __future__ import annotations

from typing import NoReturn

import aiohttp
from daytona.common.errors import DaytonaConnectionError, DaytonaError, DaytonaTimeoutError
from daytona_toolbox_api_client_async.exceptions import ApiException

from chatapp.clients.errors import Rejected, Unavailable

_NOT_RUNNING = frozenset({404, 409, 410})


def is_timeout(error: Exception) -> bool:
    """Whether the program itself was stopped at its limit (408 from the sandbox)."""
    return isinstance(error, ApiException) and error.status == 408


def is_gone(error: Exception) -> bool:
    """Whether the sandbox no longer exists or no longer runs."""
    return _status(error) in _NOT_RUNNING


def raise_translated(error: Exception, *, ran: bool) -> NoReturn:
    """Raise what an error of the SDK means; one that is not the vendor's or the network's is raised as it is.

    Args:
        error: what the SDK raised.
        ran: whether the request would have run the program; false for everything that only gets a sandbox ready.

    Raises:
        Unavailable: no answer, 429 or 5xx.
        Rejected: any other answer that is an error.
    """
    if (meaning := _meaning(error, ran)) is None:
        raise error
    raise meaning from error


def _meaning(error: Exception, ran: bool) -> Unavailable | Rejected | None:
    status = _status(error)
    if status is None:
        if not _is_transport(error):
            return None
        refused = any(isinstance(cause, aiohttp.ClientConnectorError) for cause in _chain(error))
        return Unavailable(f"Daytona did not answer: {error}"[:300], may_have_run=ran and not refused)
    message = f"Daytona answered {status}: {error}"[:300]
    if status == 429:
        return Unavailable(message, retry_after_seconds=_retry_after(error))
    if status >= 500 or status in (408, 409):
        return Unavailable(message, may_have_run=ran)
    return Rejected(message, status=status)


def _status(error: Exception) -> int | None:
    if isinstance(error, ApiException):
        return error.status or None
    return error.status_code if isinstance(error, DaytonaError) else None


def _is_transport(error: Exception) -> bool:
    kinds = (DaytonaConnectionError, DaytonaTimeoutError, aiohttp.ClientError, TimeoutError, ConnectionError)
    return any(isinstance(cause, kinds) for cause in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes: the SDK wraps errors, more than once."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _retry_after(error: Exception) -> float | None:
    headers = getattr(error, "headers", None) or {}
    value = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
