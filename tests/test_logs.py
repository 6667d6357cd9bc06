"""What a log must not hold."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

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


@pytest.mark.parametrize("name", ["session", "__Host-session", "recovery", "__Host-recovery", "form_email"])
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
