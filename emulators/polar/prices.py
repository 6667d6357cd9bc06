"""Prices of products: their forms, and the one formula of an invoice line."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal

from pydantic import UUID4, AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from emulators.polar.tables import Document

LEAST_CENTS = 50
MOST_CENTS = 99_999_999


def _free_or_chargeable(cents: int) -> int:
    if 0 < cents < LEAST_CENTS:
        raise PydanticCustomError("minimum_price", "Amount must be at least $0.50 or 0 for free pricing")
    return cents


class FixedPrice(BaseModel):
    """So many cents per period, or once."""

    amount_type: Literal["fixed"]
    price_currency: Literal["usd"] = "usd"
    price_amount: Annotated[int, Field(ge=0, le=MOST_CENTS), AfterValidator(_free_or_chargeable)]


class MeteredPrice(BaseModel):
    """So many cents per unit of a meter, and at most `cap_amount` cents per period."""

    amount_type: Literal["metered_unit"]
    price_currency: Literal["usd"] = "usd"
    meter_id: UUID4
    unit_amount: Annotated[Decimal, Field(gt=0, max_digits=17, decimal_places=12)]
    cap_amount: int | None = Field(default=None, ge=0, le=2_147_483_647)


Price = Annotated[FixedPrice | MeteredPrice, Field(discriminator="amount_type")]


def line_cents(price: Document, consumed: float, credited: float) -> int:
    """What a metered line costs: unit amount × units beyond the credit, rounded once half up, then capped."""
    units = max(Decimal(0), Decimal(str(consumed)) - Decimal(str(credited)))
    cents = int((Decimal(price["unit_amount"]) * units).quantize(Decimal(1), ROUND_HALF_UP))
    cap = price["cap_amount"]
    return cents if cap is None else min(cents, cap)


def fixed_cents(prices: list[Document]) -> int:
    """The sum of the fixed prices."""
    return sum(price["price_amount"] for price in prices if price["amount_type"] == "fixed")


def metered(prices: list[Document]) -> list[Document]:
    """The prices per unit."""
    return [price for price in prices if price["amount_type"] == "metered_unit"]


def main_price(prices: list[Document]) -> Document:
    """The price that stands for the product where only one can be shown: a fixed one if there is any."""
    return next((price for price in prices if price["amount_type"] == "fixed"), prices[0])


def is_free(prices: list[Document]) -> bool:
    """Whether the API alone may subscribe a customer: a fixed price of nothing; usage may be charged beside it."""
    return any(price["amount_type"] == "fixed" for price in prices) and fixed_cents(prices) == 0


def needs_card(prices: list[Document]) -> bool:
    """Whether a checkout asks for a card: something is to be paid now, or may be later."""
    return fixed_cents(prices) > 0 or bool(metered(prices))
