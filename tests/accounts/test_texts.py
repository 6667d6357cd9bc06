"""The words."""

import pytest

from chatapp.accounts.errors import AccountError, Throttled
from chatapp.accounts.sign_in import _CODES
from chatapp.accounts.texts import TEXTS, wait_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (1, "1 second"), (1.1, "2 seconds"), (90, "90 seconds"), (91, "2 minutes"),
     (900, "15 minutes")],
)
def test_a_waiting_time_reads_well_and_is_never_too_short(seconds: float, text: str) -> None:
    assert wait_text(seconds) == text


def test_every_refusal_of_supabase_that_we_know_has_words() -> None:
    assert {code for code, _ in _CODES.values()} <= TEXTS.keys()


def test_an_error_carries_its_words() -> None:
    assert AccountError("otp_expired").text == TEXTS["otp_expired"]
    assert "{" not in Throttled(12).text
