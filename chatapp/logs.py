"""What a log shows: when, how grave and whose; and what never gets into it: cookies, tokens, pages from strangers.

Reflex logs an event that it cannot handle whole, with all headers of its connection. Every record of the process is
cleaned where it is made, so that it does not matter which handlers exist, or which library adds one later.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

from chatapp.accounts import cookies

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MESSAGE_LIMIT = 4_000
"""Characters of a message. A frame of a websocket may have a million."""
LINE_LIMIT = 500
TRACEBACK_LINES = 200
_DEPTH = 4
"""How deep the containers in a call's arguments are cleaned."""

_NAMES = "|".join((cookies.SESSION, cookies.RECOVERY, cookies.FORM))
_COOKIE = re.compile(rf"\b((?:__Host-)?(?:{_NAMES})=)[^;,\s'\"\\]+")
# As in an address, an address inside an address (%3D), JSON, and a dict's repr.
_TOKEN = re.compile(
    r"((?:token_hash|refresh_token|access_token)(?:=|%3D|\\?['\"]\s*:\s*\\?['\"]))[^&;,\s'\"\\]+", re.IGNORECASE)


def install() -> None:
    """Clean every record from now on, and show the app's own where nobody has said how. Again, it changes nothing."""
    if logging.getLogRecordFactory() is not _CleanRecord:
        logging.setLogRecordFactory(_CleanRecord)
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
    ours = logging.getLogger("chatapp")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)


def clean(text: str) -> str:
    """The text without the values of our cookies and of Supabase's tokens."""
    return _TOKEN.sub(r"\1(removed)", _COOKIE.sub(r"\1(removed)", text))


class _CleanRecord(logging.LogRecord):
    """A record whose message is clean and complete, with its traceback, from the start.

    `args` stay, cleaned, and in their form: the formatters of access logs read them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - logging's own signature
        super().__init__(*args, **kwargs)
        message = _cut(self._formatted())
        if self.exc_info and self.exc_info[1] is not None:
            message = f"{message}\n{_traceback_of(self.exc_info[1])}"
            self.exc_info = None
        self._message = clean(message)
        if self.args:
            self.args = _clean_value(self.args, _DEPTH)
        else:
            self.msg = self._message
        self._made_of = self.msg

    def getMessage(self) -> str:
        """The clean message; anew if a handler has put another text in its place."""
        return self._message if self.msg is self._made_of else clean(_cut(self._formatted()))

    def _formatted(self) -> str:
        """The message. Where the arguments do not fit, the bare text: to log must never be what fails."""
        try:
            return super().getMessage()
        except Exception:  # whatever an argument's own __str__ raises
            return self.msg if isinstance(self.msg, str) else f"(a {type(self.msg).__name__} that cannot be shown)"


def _cut(message: str) -> str:
    if len(message) <= MESSAGE_LIMIT:
        return message
    return f"{message[:MESSAGE_LIMIT]} … ({len(message):,} characters)"


def _clean_value(value: Any, depth: int) -> Any:  # noqa: ANN401 - arguments of log calls are anything
    """The value with its texts cleaned. Other objects stay: a formatter that shows them shows the message too."""
    if isinstance(value, str):
        return _cut(clean(value))
    if depth and type(value) in (tuple, list):
        return type(value)(_clean_value(part, depth - 1) for part in value)
    if depth and type(value) is dict:
        return {key: _clean_entry(key, part, depth - 1) for key, part in value.items()}
    return value


def _clean_entry(key: Any, value: Any, depth: int) -> Any:  # noqa: ANN401 - as above
    """A dict's value, cleaned together with its name, which can tell that it is a token."""
    if isinstance(key, str) and isinstance(value, str):
        return _cut(clean(f"{key}={value}").removeprefix(f"{key}="))
    return _clean_value(value, depth)


def _traceback_of(error: BaseException) -> str:
    """The traceback with its lines cut: the text of an exception can hold all that a browser has sent."""
    try:
        lines = "".join(traceback.format_exception(error)).rstrip().split("\n")
    except Exception:  # an exception may have been made unprintable, by mistake or by a stranger
        return f"(a {type(error).__name__} whose traceback cannot be shown)"
    if len(lines) > TRACEBACK_LINES:
        lines = [*lines[: TRACEBACK_LINES // 2], "…", *lines[-TRACEBACK_LINES // 2:]]
    return "\n".join(line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} …" for line in lines)
