"""The quantities in a question: amounts of money, rates, years, and plain numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"(\d+(?:,\d{3})*(?:\.\d+)?)"
_MONEY = re.compile(
    rf"[$€£]\s?{_NUMBER}\s?(k\b|thousand|m\b|million)?|{_NUMBER}\s?(?:(k)\b|(?:(thousand|million)\s)?(?:dollars|usd|euros?)\b)",
    re.I,
)
_RATE = re.compile(rf"(?<![\d.]){_NUMBER}\s?(?:%|percent|per cent)", re.I)
_YEARS = re.compile(rf"{_NUMBER}[\s-]*(?:years?|yrs?)\b", re.I)
_PLAIN = re.compile(rf"(?<![\w.]){_NUMBER}(?![\w%])")
_SCALE = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6}


@dataclass(frozen=True)
class Quantities:
    """What a text says in figures; a missing one is None or empty.

    Attributes:
        amount: the first amount of money, in the currency's units.
        rate_percent: the first rate.
        years: the first span of years.
        numbers: all plain numbers, in order.
    """

    amount: float | None
    rate_percent: float | None
    years: int | None
    numbers: tuple[float, ...]

    def over(self, earlier: Quantities) -> Quantities:
        """These, with what they leave open taken from an earlier text."""
        return Quantities(
            self.amount if self.amount is not None else earlier.amount,
            self.rate_percent if self.rate_percent is not None else earlier.rate_percent,
            self.years if self.years is not None else earlier.years,
            self.numbers or earlier.numbers,
        )


def read(text: str) -> Quantities:
    """Find the quantities in a text."""
    money, rate, years = _MONEY.search(text), _RATE.search(text), _YEARS.search(text)
    amount = None
    if money:
        amount = _value(money[1] or money[3]) * _SCALE.get((money[2] or money[4] or money[5] or "").lower(), 1)
    return Quantities(
        amount,
        _value(rate[1]) if rate else None,
        min(int(_value(years[1])), 100) if years else None,
        tuple(_value(match[1]) for match in _PLAIN.finditer(text)),
    )


def _value(digits: str) -> float:
    return float(digits.replace(",", ""))
