"""Checkouts: opened by the API, paid on their page, or expired."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from pydantic import UUID4, BaseModel, Field
from starlette.routing import Route

from emulators.polar import customers, orders, outgoing, products, subscriptions, switching
from emulators.polar.context import Polar, stamp
from emulators.polar.customers import EMAIL_PATTERN, Address, CustomerCreate
from emulators.polar.errors import invalid, named
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.prices import fixed_cents, is_free, main_price, needs_card
from emulators.polar.tables import Document, new_id

FIELDS = {"country": "required", **dict.fromkeys(("state", "city", "postal_code", "line1", "line2"), "disabled")}
Metadata = dict[str, str | int | float | bool]
ALREADY_ACTIVE = "You already have an active subscription."


class CheckoutCreate(BaseModel):
    """A new checkout for one of the products."""

    products: list[UUID4] = Field(min_length=1)
    customer_id: UUID4 | None = None
    external_customer_id: str | None = None
    customer_email: str | None = Field(default=None, pattern=EMAIL_PATTERN)
    customer_name: str | None = Field(default=None, max_length=256)
    customer_billing_address: Address | None = None
    customer_metadata: Metadata = Field(default_factory=dict)
    subscription_id: UUID4 | None = None
    success_url: str | None = Field(default=None, pattern="^https?://")
    return_url: str | None = Field(default=None, pattern="^https?://")
    metadata: Metadata = Field(default_factory=dict)
    locale: str | None = None


def routes(api: Api) -> list[Route]:
    """The checkout endpoints; the page is elsewhere."""
    return [
        api.route("GET", "/checkouts/", listing),
        api.route("POST", "/checkouts/", create, status=201),
        api.route("GET", "/checkouts/{id}", lambda call: show(call.polar, call.document("checkout"))),
    ]


def listing(call: Call) -> Document:
    """Checkouts, the latest first."""
    found = matching(call.polar.tables.find("checkout", newest_first=True), call, "customer_id", "product_id", "status",
                     "external_customer_id")
    return page(call, found, lambda checkout: show(call.polar, checkout))


def create(call: Call) -> Document:
    """Open a checkout. An existing customer is found by id or external id, and shown with the known e-mail address."""
    polar, given = call.polar, call.read(CheckoutCreate)
    chosen = [_product(polar, index, str(product_id)) for index, product_id in enumerate(given.products)]
    customer = _customer(polar, given)
    upgraded = _upgraded(polar, given)
    secret = "polar_c_" + secrets.token_urlsafe(32).replace("-", "A").replace("_", "B")
    base = polar.base()
    url = f"{polar.world.config.url}/polar/checkout/{secret}"
    success = given.success_url or f"{url}/confirmation"
    checkout = polar.tables.add("checkout", {
        **base, "status": "open", "client_secret": secret, "url": url,
        "expires_at": stamp(polar.now() + timedelta(seconds=polar.settings.checkout_seconds)),
        "success_url": success.replace("{CHECKOUT_ID}", base["id"]).replace("%7BCHECKOUT_ID%7D", base["id"]),
        "return_url": given.return_url, "product_ids": [product["id"] for product in chosen],
        "product_id": chosen[0]["id"], "customer_id": customer["id"] if customer else None,
        "external_customer_id": customer["external_id"] if customer else given.external_customer_id,
        "customer_email": given.customer_email or (customer["email"] if customer else None),
        "customer_name": given.customer_name or (customer["name"] if customer else None),
        "customer_billing_address": given.customer_billing_address and given.customer_billing_address.model_dump(),
        "metadata": given.metadata, "customer_metadata": given.customer_metadata, "locale": given.locale or "en",
        "subscription_id": upgraded and upgraded["id"]})
    outgoing.emit(polar, "checkout.created", show(polar, checkout))
    return show(polar, checkout)


def _product(polar: Polar, index: int, product_id: str) -> Document:
    product = polar.tables.get("product", product_id)
    if product is None:
        raise invalid(("products", index), "Product does not exist.", product_id)
    if product["is_archived"]:
        raise invalid(("products", index), "Product is archived.", product_id)
    return product


def _customer(polar: Polar, given: CheckoutCreate) -> Document | None:
    if given.customer_id is not None:
        found = polar.tables.get("customer", str(given.customer_id))
        if found is None:
            raise invalid(("customer_id",), "Customer does not exist.", str(given.customer_id))
        return found
    return customers.with_external_id(polar, given.external_customer_id) if given.external_customer_id else None


def _upgraded(polar: Polar, given: CheckoutCreate) -> Document | None:
    """The free subscription that the checkout shall upgrade; one that costs money is switched by an update instead."""
    if given.subscription_id is None:
        return None
    identifier = str(given.subscription_id)
    found = polar.tables.get("subscription", identifier)
    if found is None:
        raise invalid(("subscription_id",), "Subscription does not exist.", identifier)
    if not is_free(found["prices"]):
        raise invalid(("subscription_id",), "Only free subscriptions can be upgraded.", identifier)
    return found


def pay(polar: Polar, checkout: Document, email: str, name: str | None, card: str | None) -> Document:
    """Confirm a checkout: customer, subscription and order are made, once. Returns the checkout.

    `card` is "works", or "fails" for one that can be charged now and not at a renewal, or None without a form for it.
    Refuses with 403 what is not open, and a customer who has a subscription that is billed: Polar allows one, and
    changes of it go through an update.
    """
    if checkout["status"] != "open":
        raise named(403, "NotOpenCheckout", "Checkout is not open.")
    product = polar.tables.need("product", checkout["product_id"])
    customer = find_customer(polar, {**checkout, "customer_email": email})
    if product["is_recurring"] and checkout["subscription_id"] is None and customer is not None \
            and subscriptions.billable(polar, customer["id"]) is not None:
        raise named(403, "AlreadyActiveSubscriptionError", ALREADY_ACTIVE)
    customer = customer or customers.create(polar, CustomerCreate(
        email=email, name=name, external_id=checkout["external_customer_id"], metadata=checkout["customer_metadata"]))
    if customer["external_id"] is None and checkout["external_customer_id"] is not None:
        customers.update(polar, customer, customers.CustomerUpdate(external_id=checkout["external_customer_id"]))
    confirmed = polar.touch({**checkout, "status": "confirmed", "customer_id": customer["id"],
                             "customer_email": email, "customer_name": name})
    outgoing.emit(polar, "checkout.updated", show(polar, confirmed))
    if card is not None:
        _keep_card(polar, customer["id"], "works")
    _fulfil(polar, confirmed, product)
    if card is not None:
        _keep_card(polar, customer["id"], card)
    succeeded = polar.touch({**confirmed, "status": "succeeded"})
    outgoing.emit(polar, "checkout.updated", show(polar, succeeded))
    return succeeded


def find_customer(polar: Polar, checkout: Document) -> Document | None:
    """The customer of a checkout, by id, external id or e-mail address; None if one is to be made."""
    found = polar.tables.get("customer", checkout["customer_id"])
    if found is None and checkout["external_customer_id"] is not None:
        found = customers.with_external_id(polar, checkout["external_customer_id"])
    if found is None and checkout["customer_email"] is not None:
        found = customers.with_email(polar, checkout["customer_email"])
    return found


def _keep_card(polar: Polar, customer_id: str, card: str) -> None:
    customer = polar.tables.need("customer", customer_id)
    polar.tables.save({**customer, "_card": card,
                       "default_payment_method_id": customer["default_payment_method_id"] or new_id()})


def _fulfil(polar: Polar, checkout: Document, product: Document) -> None:
    """The subscription, new or upgraded, and the first order."""
    customer_id, prices = checkout["customer_id"], products.current_prices(product)
    subscription: Document | None = None
    reason = "purchase"
    if checkout["subscription_id"] is not None:
        subscription = switching.switch(
            polar, polar.tables.need("subscription", checkout["subscription_id"]), product["id"], "reset")
        subscriptions.announce(polar, subscription)
        return
    if product["is_recurring"]:
        reason = "subscription_create"
        subscription = subscriptions.begin(polar, customer_id, product, checkout_id=checkout["id"],
                                           metadata=checkout["metadata"])
    lines = [orders.item(polar, product["name"], price["price_amount"], price)
             for price in prices if price["amount_type"] == "fixed"]
    orders.create(polar, customer_id, product, prices, lines, reason, checkout=checkout,
                  subscription_id=subscription["id"] if subscription else None)


def expire(polar: Polar, checkout: Document) -> Document:
    """Close a checkout that nobody paid in time."""
    expired = polar.touch({**checkout, "status": "expired"})
    outgoing.emit(polar, "checkout.expired", show(polar, expired))
    outgoing.emit(polar, "checkout.updated", show(polar, expired))
    return expired


def is_expired(polar: Polar, checkout: Document) -> bool:
    """Whether its time is over, even if no background task has noticed yet."""
    return bool(checkout["status"] == "expired" or
                (checkout["status"] == "open" and checkout["expires_at"] <= stamp(polar.now())))


def show(polar: Polar, checkout: Document) -> Document:
    """A checkout as it is answered."""
    product = polar.tables.need("product", checkout["product_id"])
    prices = products.current_prices(product)
    cents = fixed_cents(prices)
    chosen = [polar.tables.need("product", each) for each in checkout["product_ids"]]
    empty: dict[str, Any] = dict.fromkeys(("seats", "min_seats", "max_seats", "units", "min_units", "max_units"))
    return {
        **{key: checkout[key] for key in ("id", "created_at", "modified_at")}, "custom_field_data": {},
        "payment_processor": "stripe",
        **{key: checkout[key] for key in ("status", "client_secret", "url", "expires_at", "success_url", "return_url")},
        "embed_origin": None, "amount": cents, **empty, "discount_amount": 0, "net_amount": cents,
        "tax_amount": None if cents and checkout["status"] == "open" else 0, "tax_behavior": None,
        "total_amount": cents, "currency": "usd", "allow_trial": True,
        "active_trial_interval": None, "active_trial_interval_count": None, "trial_end": None,
        "organization_id": polar.organization_id, "product_id": product["id"],
        "product_price_id": main_price(prices)["id"], "discount_id": None, "allow_discount_codes": True,
        "require_billing_address": False, "is_discount_applicable": True, "is_free_product_price": False,
        "is_payment_required": cents > 0, "is_payment_setup_required": product["is_recurring"],
        "is_payment_form_required": needs_card(prices), "customer_id": checkout["customer_id"],
        "is_business_customer": False, "customer_name": checkout["customer_name"],
        "customer_email": checkout["customer_email"], "customer_ip_address": None, "customer_billing_name": None,
        "customer_billing_address": checkout["customer_billing_address"], "customer_tax_id": None,
        "locale": checkout["locale"], "payment_method_type": None,
        "payment_processor_metadata": {"publishable_key": "pk_test_emulated"},
        "customer_billing_address_fields": {key: value == "required" for key, value in FIELDS.items()},
        "billing_address_fields": FIELDS, "trial_interval": None, "trial_interval_count": None,
        "metadata": checkout["metadata"], "external_customer_id": checkout["external_customer_id"],
        "customer_external_id": checkout["external_customer_id"],
        "products": [products.public(polar, each) for each in chosen], "product": products.public(polar, product),
        "product_price": products.show_price(polar, main_price(prices)),
        "prices": {each["id"]: [products.show_price(polar, price) for price in products.current_prices(each)]
                   for each in chosen},
        "discount": None, "subscription_id": checkout["subscription_id"], "attached_custom_fields": [],
        "customer_metadata": checkout["customer_metadata"], "subtotal_amount": cents,
    }
