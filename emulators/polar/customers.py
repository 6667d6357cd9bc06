"""Customers: unique by e-mail and by external id among those that are not deleted."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator
from starlette.routing import Route

from emulators.polar import outgoing
from emulators.polar.context import Polar, stamp
from emulators.polar.errors import invalid, not_found
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.tables import Document

EMAIL_PATTERN = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
FIELDS = ("id", "created_at", "modified_at", "metadata", "external_id", "email", "email_verified", "type", "name",
          "billing_name", "billing_address", "tax_id", "locale", "organization_id", "default_payment_method_id",
          "deleted_at")


class Address(BaseModel):
    """A billing address."""

    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str


class CustomerFields(BaseModel):
    """What a customer may be given by update; absent fields stay as they are."""

    email: str | None = Field(default=None, pattern=EMAIL_PATTERN)
    name: str | None = Field(default=None, max_length=256)
    billing_address: Address | None = None
    tax_id: str | None = None
    locale: str | None = None
    metadata: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("email")
    @classmethod
    def _without_spaces(cls, value: str | None) -> str | None:
        return value.strip() if value else value


class CustomerUpdate(CustomerFields):
    """An update by Polar's id, which may also give an external id."""

    external_id: str | None = None


class CustomerCreate(CustomerUpdate):
    """A new customer."""

    email: str = Field(pattern=EMAIL_PATTERN)
    type: Literal["individual", "team"] = "individual"


def routes(api: Api) -> list[Route]:
    """The customer endpoints, except for the state."""
    return [
        api.route("GET", "/customers/", listing),
        api.route("POST", "/customers/", lambda call: show(call.polar, create(call.polar, call.read(CustomerCreate))),
                  status=201),
        api.route("GET", "/customers/external/{external_id}", lambda call: show(call.polar, by_external(call))),
        api.route("PATCH", "/customers/external/{external_id}",
                  lambda call: update(call.polar, by_external(call), call.read(CustomerFields))),
        api.route("DELETE", "/customers/external/{external_id}", lambda call: delete(call.polar, by_external(call)),
                  status=204),
        api.route("GET", "/customers/{id}", lambda call: show(call.polar, call.document("customer"))),
        api.route("PATCH", "/customers/{id}",
                  lambda call: update(call.polar, call.document("customer"), call.read(CustomerUpdate))),
        api.route("DELETE", "/customers/{id}", lambda call: delete(call.polar, call.document("customer")), status=204),
    ]


def listing(call: Call) -> Document:
    """Customers, the latest first, found by e-mail or by a part of e-mail, name or external id."""
    found = matching(call.polar.tables.find("customer", newest_first=True), call, "organization_id")
    if (email := call.one("email")) is not None:
        found = [customer for customer in found if customer["email"].lower() == email.lower()]
    if (query := call.one("query")) is not None:
        found = [customer for customer in found if any(
            query.lower() in (customer[key] or "").lower() for key in ("email", "name", "external_id"))]
    return page(call, found, lambda customer: show(call.polar, customer))


def by_external(call: Call) -> Document:
    """The customer that the path's `external_id` names; 404 if there is none."""
    found = with_external_id(call.polar, call.path["external_id"])
    if found is None:
        raise not_found()
    return found


def with_external_id(polar: Polar, external_id: str) -> Document | None:
    """The customer with that external id, or None."""
    return next(iter(polar.tables.find("customer", external_id=external_id)), None)


def with_email(polar: Polar, email: str) -> Document | None:
    """The customer with that e-mail address, or None; case does not matter."""
    every = polar.tables.find("customer")
    return next((customer for customer in every if customer["email"].lower() == email.lower()), None)


def create(polar: Polar, given: CustomerCreate) -> Document:
    """Make a customer, who inherits the events sent before under the external id. 422 if there is one already."""
    _unique(polar, given.external_id, given.email, None)
    customer = {
        **polar.base(), **given.model_dump(), "email_verified": False, "billing_name": given.name,
        "organization_id": polar.organization_id, "default_payment_method_id": None, "deleted_at": None,
        "_balance_cents": 0, "_card": None, "_state_due": None, "_state": None,
    }
    polar.tables.add("customer", customer)
    if given.external_id is not None:
        polar.tables.write("UPDATE polar_event SET customer_id = ? WHERE external_customer_id = ?",
                           customer["id"], given.external_id)
    outgoing.emit(polar, "member.created", {
        **polar.base(), "customer_id": customer["id"], "email": customer["email"], "name": customer["name"],
        "external_id": customer["external_id"], "role": "owner"})
    outgoing.emit(polar, "customer.created", show(polar, customer))
    return customer


def _unique(polar: Polar, external_id: str | None, email: str | None, own_id: str | None) -> None:
    if external_id is not None:
        found = with_external_id(polar, external_id)
        if found is not None and found["id"] != own_id:
            raise invalid(("external_id",), "A customer with this external ID already exists.", external_id)
    if email is not None:
        found = with_email(polar, email)
        if found is not None and found["id"] != own_id:
            raise invalid(("email",), "A customer with this email address already exists.", email)


def update(polar: Polar, customer: Document, given: CustomerFields) -> Document:
    """Change the fields that were given. An external id, once set, cannot be changed."""
    changes: dict[str, Any] = given.model_dump(exclude_unset=True)
    external = changes.get("external_id")
    if "external_id" in changes and customer["external_id"] not in (None, external):
        raise invalid(("external_id",), "Customer external ID cannot be updated.", external)
    _unique(polar, external, changes.get("email"), customer["id"])
    if changes.get("email") is None:
        changes.pop("email", None)
    before = show(polar, customer)
    customer = {**customer, **changes}
    if "name" in changes:
        customer["billing_name"] = changes["name"]
    if show(polar, customer) == before:
        return before
    customer = polar.touch(customer)
    outgoing.emit(polar, "customer.updated", show(polar, customer))
    return show(polar, customer)


def delete(polar: Polar, customer: Document) -> None:
    """Delete a customer; subscriptions end at once. The external id and the e-mail address become free again."""
    from emulators.polar import subscriptions  # which belong to customers: a circle by nature

    subscriptions.end_all(polar, customer["id"])
    gone = {**customer, "deleted_at": stamp(polar.now())}
    outgoing.emit(polar, "customer.deleted", show(polar, gone))
    polar.tables.save(gone)
    polar.tables.write("UPDATE polar_document SET kind = 'customer_deleted' WHERE id = ?", customer["id"])
    polar.tables.write("UPDATE polar_event SET customer_id = NULL WHERE customer_id = ?", customer["id"])


def owner(polar: Polar, customer_id: str) -> Document:
    """The customer behind an order or a subscription, who may have been deleted since."""
    return polar.tables.get("customer", customer_id) or polar.tables.need("customer_deleted", customer_id)


def show(polar: Polar, customer: Document) -> Document:
    """A customer as it is answered."""
    digest = hashlib.sha256(customer["email"].lower().encode()).hexdigest()
    first = polar.tables.rows(
        "SELECT min(timestamp) FROM polar_event WHERE customer_id = ? AND source = 'user'", customer["id"])[0][0]
    return {**{key: customer[key] for key in FIELDS},
            "first_user_event_at": first and first[:-4] + "000Z",
            "avatar_url": f"https://www.gravatar.com/avatar/{digest}?d=404"}


def legacy_user(polar: Polar, customer: Document) -> Document:
    """The customer once more, as older clients expect it beside subscriptions and orders."""
    return {"id": customer["id"], "email": customer["email"], "public_name": customer["email"][0],
            "avatar_url": show(polar, customer)["avatar_url"], "github_username": None}
