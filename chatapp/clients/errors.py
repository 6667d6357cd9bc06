"""The two ways in which a vendor's client fails, as the rest of the house sees them.

`Unavailable` is the vendor's or the network's bad moment: the same call may succeed later.
`Rejected` is the vendor's "no": repeating the same call brings the same answer, or costs again.
"""

from __future__ import annotations

from decimal import Decimal


class Unavailable(Exception):
    """The vendor did not answer, answered too late, with 429, or with 5xx. Try again later.

    Attributes:
        retry_after_seconds: how long the vendor asks to wait, if it says so.
        may_have_run: the request was sent and its fate is unknown, so it may have taken effect and may have cost
            money: a payer keeps the hold until it is reconciled. False if it certainly was not carried out
            (no connection, 429).
    """

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, may_have_run: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.may_have_run = may_have_run


class Rejected(Exception):
    """The vendor understood the request and refused or failed it for good. Do not repeat it unchanged.

    Attributes:
        status: the HTTP status, if there was one.
        cost_usd: what the vendor charged in spite of the failure, in dollars; zero if nothing.
    """

    def __init__(self, message: str, *, status: int | None = None, cost_usd: Decimal = Decimal(0)) -> None:
        super().__init__(message)
        self.status = status
        self.cost_usd = cost_usd
