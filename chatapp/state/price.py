"""What the next question will cost, for the line below the composer."""

from __future__ import annotations

import asyncio
from decimal import ROUND_CEILING, Decimal

import reflex as rx

from chatapp.billing.money import NANO_PER_CENT, format_usd
from chatapp.billing.quotes import ROUNDING_NANOUSD, Quote, quote
from chatapp.db import now
from chatapp.state.runtime import runtime
from chatapp.state.viewer import session_of


class NextPrice(rx.State):
    """The price of a question that has not been asked yet: empty where nothing is charged."""

    text: str = ""

    @rx.event
    async def load(self) -> None:
        """An event of its own, after the page or an answer is shown: nobody waits for it."""
        session = await session_of(self)
        if session is None:
            self.reset()
            return
        services = runtime().services
        self.text = in_words(await asyncio.to_thread(
            quote, services.db, services.settings, session.account_id, now()))


def in_words(quoted: Quote) -> str:
    """A billed question's price in a few words; nothing where there is nothing to say."""
    if not quoted.billable or quoted.at_most_nanousd == 0:
        return ""
    most = None if quoted.at_most_nanousd is None else _whole_cents(quoted.at_most_nanousd)
    usual = quoted.usual_nanousd
    if usual is None or (most is not None and usual >= most):
        return "" if most is None else f"At most {format_usd(most)}"
    about = f"Usually about {format_usd(usual)}"
    return about if most is None else f"{about}, at most {format_usd(most)}"


def _whole_cents(nanousd: int) -> int:
    """Rounded up, since it is a bound, but not for the sake of a step's own rounding."""
    cents = Decimal(max(0, nanousd - ROUNDING_NANOUSD)) / NANO_PER_CENT
    return int(cents.to_integral_value(rounding=ROUND_CEILING)) * NANO_PER_CENT
