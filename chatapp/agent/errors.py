"""Why a turn ended without an answer, in the person's words."""

from __future__ import annotations

import asyncio

from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
    UserError,
)

_GATEWAY_TIMEOUTS = frozenset({408, 504, 524})
_TEMPORARY = (ModelRateLimitError, ModelUnavailableError, ModelServerError, ModelConnectionError)


class AnswerFailed(Exception):
    """The turn ended without an answer; the vendor's or the library's error is its `__cause__`.

    Attributes:
        text: what the person is told.
        again: whether the same question may succeed later.
    """

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.text = text
        self.again = again


def as_answer_failed(error: Exception) -> AnswerFailed:
    """An error of a run in the person's words."""
    if isinstance(error, ModelContextWindowExceededError):
        return AnswerFailed("This chat has become too long for the model. Start a new one.", again=False)
    if isinstance(error, ContentFilterError):
        return AnswerFailed("The model's provider declined to answer this.", again=False)
    if is_temporary(error):
        return AnswerFailed("The model does not answer at the moment. Try again in a minute.", again=True)
    if isinstance(error, ModelAPIError):
        return AnswerFailed("The model cannot be used at the moment. We have to look into it.", again=False)
    return AnswerFailed("The model did not come to an answer. Try to ask in another way.", again=True)


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed if it is sent again."""
    return isinstance(error, _TEMPORARY)


def certainly_free(error: BaseException) -> bool:
    """Whether a model request that failed before its answer began has certainly cost nothing.

    - The connection was never made: nothing was sent.
    - The vendor answered with an HTTP error instead of an answer: vendors bill answers, not refusals. A time-out is
      no such answer: it comes from a gateway in between, and the vendor may have gone on.
    - The library refused the request as a misuse, before sending it.

    Anything else, such as a connection that broke while we waited, or a cancel, was sent and may be billed.
    """
    if isinstance(error, ModelConnectionError):
        return error.phase in ("pool", "connect")
    if isinstance(error, ModelHTTPError):
        return not error.in_stream and error.status_code not in _GATEWAY_TIMEOUTS
    return isinstance(error, UserError)


def was_stopped(error: BaseException) -> bool:
    """Whether a step ended because its reader went away or stopped it, and not by a failure."""
    return isinstance(error, asyncio.CancelledError | GeneratorExit)
