"""What a log must not hold."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import re
from collections.abc import Iterator

import pytest
from granian.log import access_logger
from uvicorn.logging import AccessFormatter, DefaultFormatter

from chatapp import logs

TOKEN = "pyRHqerZ1GZ5rqLRCnpYD_pwkqm6oSN9O3ZIHHhbmd0"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with the redaction installed, and what it has written."""
    factory = logging.getLogRecordFactory()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("somebody.elses.library")
    logger.addHandler(handler)
    logs.install()
    yield logger, written
    logger.removeHandler(handler)
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize("name", ["session", "__Host-session", "recovery", "__Host-recovery", "form"])
def test_no_record_holds_the_value_of_a_cookie_of_ours(log: tuple[logging.Logger, io.StringIO], name: str) -> None:
    logger, written = log
    logger.warning("headers: %r", {"cookie": f"theme=dark; {name}={TOKEN}; other=1"})
    assert TOKEN not in written.getvalue()
    assert f"{name}=(removed)" in written.getvalue()
    assert "theme=dark" in written.getvalue()
    assert "other=1" in written.getvalue()


def test_a_traceback_is_logged_without_cookies_and_with_its_lines_cut(
    log: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, written = log
    try:
        raise KeyError(f"session={TOKEN} " + "x" * 1_000_000)
    except KeyError:
        logger.exception("It failed: %s", "y" * 1_000_000)
    text = written.getvalue()
    assert TOKEN not in text
    assert "Traceback" in text
    assert "KeyError" in text
    assert "test_logs.py" in text
    assert len(text) < 10_000


def test_an_ordinary_message_stays_as_it_is(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.warning("Turn %s took %.1f s and 5 %% more", "t-1", 2.04)
    assert written.getvalue() == "Turn t-1 took 2.0 s and 5 % more\n"


def test_installing_it_twice_changes_nothing(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logs.install()
    logger.warning("once")
    assert written.getvalue() == "once\n"


@pytest.mark.parametrize("name", ["token_hash", "refresh_token", "access_token"])
def test_no_record_holds_a_token_of_supabase(log: tuple[logging.Logger, io.StringIO], name: str) -> None:
    logger, written = log
    logger.warning("GET /auth/confirm?type=email&%s=%s&next=/", name, TOKEN)
    logger.warning("GET /sign-in?next=%%2Fconfirm%%3F%s%%3D%s%%26x", name, TOKEN)
    logger.warning("answer %r and %s", {name: TOKEN, "user": 7}, json.dumps({name: TOKEN}))
    assert TOKEN not in written.getvalue()
    assert f"type=email&{name}=(removed)&next=/" in written.getvalue()
    assert "'user': 7" in written.getvalue()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not today")


@pytest.mark.parametrize(("message", "arguments", "shown"), [
    ("%d turns", ("many",), "%d turns"), ("%s and %s", ("one",), "%s and %s"), ("100%", (1,), "100%"),
    ("a %s", (Unprintable(),), "a %s"), ("%(name)s", ({"other": 1},), "%(name)s"),
    (Unprintable(), (), "(a Unprintable that cannot be shown)"),
])
def test_a_faulty_log_call_shows_its_bare_text_and_raises_nothing(
    log: tuple[logging.Logger, io.StringIO], message: object, arguments: tuple[object, ...], shown: str
) -> None:
    logger, written = log
    logger.warning(message, *arguments)
    assert written.getvalue() == shown + "\n"


def test_an_exception_that_cannot_be_shown_does_not_keep_the_message_from_the_log(
    log: tuple[logging.Logger, io.StringIO]
) -> None:
    class Evil(Exception):
        __cause__ = property(lambda _: 1 / 0)  # type: ignore[assignment]

    logger, written = log
    logger.error("It failed", exc_info=Evil("x"))
    assert written.getvalue() == "It failed\n(a Evil whose traceback cannot be shown)\n"


def test_formatters_of_access_logs_find_their_arguments_and_no_token_in_them(
    log: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, written = log
    logger.handlers[0].setFormatter(AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s"))
    logger.warning('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", f"/confirm?token_hash={TOKEN}", "1.1", 200)
    assert written.getvalue() == "1.2.3.4:5 GET /confirm?token_hash=(removed) HTTP/1.1 200 OK\n"


def test_a_formatter_may_put_another_text_in_the_messages_place(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.handlers[0].setFormatter(DefaultFormatter("%(message)s", use_colors=True))
    logger.warning("Running on %s", "here", extra={"color_message": f"Colourful %s session={TOKEN}"})
    assert written.getvalue() == "Colourful here session=(removed)\n"


def test_named_arguments_stay_named(log: tuple[logging.Logger, io.StringIO]) -> None:
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    access_logger.addHandler(handler)
    level = access_logger.level
    access_logger.setLevel(logging.INFO)
    access_logger.info("%(method)s %(path)s", {"method": "GET", "path": "/", "access_token": TOKEN})
    access_logger.setLevel(level)
    access_logger.removeHandler(handler)
    assert found[0].args == {"method": "GET", "path": "/", "access_token": "(removed)"}
    assert found[0].getMessage() == "GET /"


def test_a_record_that_waited_in_a_queue_is_shown_once_and_clean(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, _ = log
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    handler = logging.handlers.QueueHandler(waiting)
    logger.addHandler(handler)
    try:
        raise KeyError(f"session={TOKEN}")
    except KeyError:
        logger.exception("It failed for %s", "ada")
    logger.removeHandler(handler)
    text = waiting.get_nowait().getMessage()
    assert (text.count("It failed for ada"), text.count("Traceback")) == (1, 1)
    assert TOKEN not in text


def test_without_a_handler_of_anybodys_the_app_logs_with_time_level_and_module(
    log: tuple[logging.Logger, io.StringIO]
) -> None:
    root, ours = logging.getLogger(), logging.getLogger("chatapp")
    handlers, level = root.handlers[:], ours.level
    root.handlers.clear()
    ours.setLevel(logging.NOTSET)
    try:
        logs.install()
        logs.install()
        [handler] = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written := io.StringIO())
        logging.getLogger("chatapp.billing").info("2 events delivered")
        logging.getLogger("somebody.elses").info("chatter")
    finally:
        root.handlers[:] = handlers
        ours.setLevel(level)
    assert re.fullmatch(r"[-\d]+ [:,\d]+ INFO chatapp\.billing: 2 events delivered\n", written.getvalue())


def test_a_handler_that_is_there_already_stays_the_only_one(log: tuple[logging.Logger, io.StringIO]) -> None:
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [own := logging.NullHandler()]
    try:
        logs.install()
        assert root.handlers == [own]
    finally:
        root.handlers[:] = handlers
