"""What never gets into a log: cookies that open a session; and pages full of what a stranger has sent.

Reflex logs an event that it cannot handle whole, with all headers of its connection. Every record of the process is
cleaned where it is made, so that it does not matter which handlers exist, or which library adds one later.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

from chatapp.accounts import cookies

MESSAGE_LIMIT = 4_000
"""Characters of a message. A frame of a websocket may have a million."""
LINE_LIMIT = 500
TRACEBACK_LINES = 200

_NAMES = "|".join((cookies.SESSION, cookies.RECOVERY, cookies.FORM_EMAIL))
_COOKIE = re.compile(rf"\b((?:__Host-)?(?:{_NAMES})=)[^;,\s'\"\\]+")


def install() -> None:
    """Clean every record from now on. Doing it again changes nothing."""
    if logging.getLogRecordFactory() is not _clean_record:
        logging.setLogRecordFactory(_clean_record)


def clean(text: str) -> str:
    """The text without the values of our cookies."""
    return _COOKIE.sub(r"\1(removed)", text)


def _clean_record(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - logging's own signature
    record = logging.LogRecord(*args, **kwargs)
    message = record.getMessage()
    if len(message) > MESSAGE_LIMIT:
        message = f"{message[:MESSAGE_LIMIT]} … ({len(message):,} characters)"
    if record.exc_info and record.exc_info[1] is not None:
        message = f"{message}\n{_traceback_of(record.exc_info[1])}"
        record.exc_info = None
    record.msg, record.args = clean(message), None
    return record


def _traceback_of(error: BaseException) -> str:
    """The traceback with its lines cut: the text of an exception can hold all that a browser has sent."""
    lines = "".join(traceback.format_exception(error)).rstrip().split("\n")
    if len(lines) > TRACEBACK_LINES:
        lines = [*lines[: TRACEBACK_LINES // 2], "…", *lines[-TRACEBACK_LINES // 2:]]
    return "\n".join(line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} …" for line in lines)
