"""The refusals that a person at a form meets."""

from __future__ import annotations

from chatapp.accounts.texts import TEXTS, wait_text


class AccountError(Exception):
    """A form's refusal.

    Attributes:
        code: key of `TEXTS`; it travels in addresses, so it never says whether an account exists.
        text: what the person reads.
        field: the form field it is about (`email`, `password`), or empty.
    """

    def __init__(self, code: str, *, field: str = "", text: str | None = None) -> None:
        self.code = code
        self.text = text or TEXTS[code]
        self.field = field
        super().__init__(self.text)


class Throttled(AccountError):
    """Too often: from this address, or for this e-mail.

    Attributes:
        wait_seconds: after which the next try counts again.
    """

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__("throttled", text=TEXTS["throttled"].format(wait=wait_text(wait_seconds)))
