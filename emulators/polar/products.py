"""Products with their prices and benefits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, RootModel, Tag
from starlette.routing import Route

from emulators.polar import benefits, meters
from emulators.polar.context import Polar
from emulators.polar.errors import invalid
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.prices import FixedPrice, MeteredPrice, Price
from emulators.polar.tables import Document, new_id

Period = Literal["day", "week", "month", "year"]
Metadata = dict[str, str | int | float | bool]
BRIEF = ("id", "created_at", "modified_at", "trial_interval", "trial_interval_count", "name", "description",
         "visibility", "recurring_interval", "recurring_interval_count", "meter_interval", "meter_interval_count")


class _ProductCreate(BaseModel):
    name: str = Field(min_length=3)
    description: str | None = None
    visibility: Literal["public", "private"] = "public"
    metadata: Metadata = Field(default_factory=dict)
    prices: list[Price] = Field(min_length=1)


class RecurringCreate(_ProductCreate):
    """A product that renews. With `meter_interval`, accrued usage survives a switch of product."""

    recurring_interval: Period
    recurring_interval_count: int = Field(default=1, ge=1, le=999)
    meter_interval: Period | None = None
    meter_interval_count: int | None = None
    trial_interval: None = None
    trial_interval_count: None = None


class OneTimeCreate(_ProductCreate):
    """A product that is bought once."""

    recurring_interval: None = None
    prices: list[FixedPrice] = Field(min_length=1)  # type: ignore[assignment]  # usage is billed per period only


def _kind(given: object) -> str:
    return "recurring" if isinstance(given, dict) and given.get("recurring_interval") is not None else "one_time"


class ProductCreate(RootModel[Annotated[
    Annotated[RecurringCreate, Tag("recurring")] | Annotated[OneTimeCreate, Tag("one_time")], Discriminator(_kind)]]):
    """A new product of either kind."""


class ExistingPrice(BaseModel):
    """A price that stays."""

    id: str


class ProductUpdate(BaseModel):
    """Changes of a product; prices that are not listed are archived."""

    name: str | None = Field(default=None, min_length=3)
    description: str | None = None
    visibility: Literal["public", "private"] | None = None
    is_archived: bool | None = None
    metadata: Metadata | None = None
    prices: list[ExistingPrice | Price] | None = None


class ProductBenefits(BaseModel):
    """The benefits that a product shall have, all of them."""

    benefits: list[str]


def routes(api: Api) -> list[Route]:
    """The product endpoints."""
    return [
        api.route("GET", "/products/", listing),
        api.route("POST", "/products/", create, status=201),
        api.route("GET", "/products/{id}", lambda call: show(call.polar, call.document("product"))),
        api.route("PATCH", "/products/{id}", update),
        api.route("POST", "/products/{id}/benefits", set_benefits),
    ]


def create(call: Call) -> Document:
    """Make a product; its meters must exist, and each may be priced once."""
    given = call.read(ProductCreate).root
    fields = given.model_dump(exclude={"prices"})
    _check_meters(call.polar, list(given.prices))
    product = {
        "recurring_interval_count": None, "meter_interval": None, "meter_interval_count": None,
        "trial_interval": None, "trial_interval_count": None, **call.polar.base(), **fields,
        "is_recurring": given.recurring_interval is not None, "is_archived": False, "benefit_ids": [],
        "organization_id": call.polar.organization_id}
    product["prices"] = [_new_price(call.polar, product, price) for price in given.prices]
    return show(call.polar, call.polar.tables.add("product", product))


def _check_meters(polar: Polar, prices: list[FixedPrice | MeteredPrice]) -> None:
    seen: set[str] = set()
    for index, price in enumerate(prices):
        if isinstance(price, MeteredPrice):
            meter_id, loc = str(price.meter_id), ("prices", index, "meter_id")
            if polar.tables.get("meter", meter_id) is None:
                raise invalid(loc, "Meter does not exist.", meter_id)
            if meter_id in seen:
                raise invalid(loc, "Meter is already used for another price.", meter_id)
            seen.add(meter_id)


def _new_price(polar: Polar, product: Document, given: FixedPrice | MeteredPrice) -> Document:
    base = polar.base()
    price = {"created_at": base["created_at"], "modified_at": None, "id": new_id(), "source": "catalog",
             "amount_type": given.amount_type, "price_currency": "usd", "tax_behavior": None, "is_archived": False,
             "product_id": product["id"], "type": "recurring" if product["is_recurring"] else "one_time",
             "recurring_interval": product["recurring_interval"]}
    if isinstance(given, FixedPrice):
        return {**price, "price_amount": given.price_amount}
    return {**price, "unit_amount": f"{given.unit_amount:.12f}", "cap_amount": given.cap_amount,
            "meter_id": str(given.meter_id)}


def update(call: Call) -> Document:
    """Change a product. Running subscriptions keep the prices they began with until their product is switched."""
    product, given = call.document("product"), call.read(ProductUpdate)
    changes = given.model_dump(exclude_unset=True, exclude={"prices"})
    if given.prices is not None:
        kept = {price.id for price in given.prices if isinstance(price, ExistingPrice)}
        new = [price for price in given.prices if not isinstance(price, ExistingPrice)]
        _check_meters(call.polar, new)
        prices = [{**price, "is_archived": price["is_archived"] or price["id"] not in kept}
                  for price in product["prices"]]
        product["prices"] = prices + [_new_price(call.polar, product, price) for price in new]
    return show(call.polar, call.polar.touch({**product, **changes}))


def set_benefits(call: Call) -> Document:
    """Replace the product's benefits; its subscribers are granted and revoked accordingly, a moment later."""
    from emulators.polar import state  # follows the subscriptions, which are made of products

    product, wanted = call.document("product"), call.read(ProductBenefits).benefits
    for index, benefit_id in enumerate(wanted):
        if call.polar.tables.get("benefit", benefit_id) is None:
            raise invalid(("benefits", index), "Benefit does not exist.", benefit_id)
    product = call.polar.touch({**product, "benefit_ids": wanted})
    for subscription in call.polar.tables.find("subscription", product_id=product["id"]):
        state.schedule(call.polar, subscription["customer_id"])
    return show(call.polar, product)


def listing(call: Call) -> Document:
    """Products, the latest first, found by id, name, kind or whether they are archived."""
    found = matching(call.polar.tables.find("product", newest_first=True), call, "id", "visibility",
                     "is_archived", "is_recurring", "organization_id")
    if (query := call.one("query")) is not None:
        found = [product for product in found if query.lower() in product["name"].lower()]
    return page(call, found, lambda product: show(call.polar, product))


def current_prices(product: Document) -> list[Document]:
    """The prices that a new customer pays."""
    return [price for price in product["prices"] if not price["is_archived"]]


def show_price(polar: Polar, price: Document) -> Document:
    """A price as it is answered."""
    if price["amount_type"] != "metered_unit":
        return price
    return {**price, "meter": meters.brief(polar.tables.need("meter", price["meter_id"]))}


def brief(product: Document) -> Document:
    """A product as an order shows it."""
    return {"metadata": product["metadata"], **{key: product[key] for key in BRIEF},
            "is_recurring": product["is_recurring"], "is_archived": product["is_archived"],
            "organization_id": product["organization_id"]}


def show(polar: Polar, product: Document) -> Document:
    """A product as it is answered."""
    return {**brief(product), "prices": [show_price(polar, price) for price in current_prices(product)],
            "benefits": [benefits.show(benefit) for benefit in own_benefits(polar, product)], "medias": [],
            "attached_custom_fields": [], "is_deletable": False}


def own_benefits(polar: Polar, product: Document) -> list[Document]:
    """The product's benefits."""
    return [polar.tables.need("benefit", benefit_id) for benefit_id in product["benefit_ids"]]


def public(polar: Polar, product: Document) -> Document:
    """A product as a checkout shows it: what is private is left out."""
    shown = {key: value for key, value in show(polar, product).items()
             if key not in {"metadata", "benefits", "attached_custom_fields", "is_deletable"}}
    visible = [benefit for benefit in own_benefits(polar, product) if benefit["visibility"] == "public"]
    return {**shown, "benefits": [benefits.public(benefit) for benefit in visible]}
