"""Benefits (feature flags and meter credits) and their grants to customers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel
from starlette.routing import Route

from emulators.polar import customers, outgoing
from emulators.polar.context import Polar, stamp
from emulators.polar.errors import invalid
from emulators.polar.http import Api, Call, matching, page
from emulators.polar.tables import Document

LARGEST_CREDIT = 2_147_483_647
PUBLIC_FIELDS = ("id", "created_at", "modified_at", "type", "description", "selectable", "deletable", "is_deleted",
                 "organization_id")
Metadata = dict[str, str | int | float | bool]


class CreditProperties(BaseModel):
    """How many units of which meter are credited per period."""

    units: int = Field(gt=0, le=LARGEST_CREDIT)
    rollover: bool
    meter_id: str


class NoProperties(BaseModel):
    """A feature flag has no properties."""


class _BenefitCreate(BaseModel):
    description: str = Field(min_length=3, max_length=42)
    metadata: Metadata = Field(default_factory=dict)
    visibility: Literal["public", "private"] | None = None


class FlagCreate(_BenefitCreate):
    """A feature flag: its metadata says which."""

    type: Literal["feature_flag"]
    properties: NoProperties


class CreditCreate(_BenefitCreate):
    """Units credited on a meter at the start of each period."""

    type: Literal["meter_credit"]
    properties: CreditProperties


class BenefitCreate(RootModel[Annotated[FlagCreate | CreditCreate, Field(discriminator="type")]]):
    """A new benefit of one of the emulated types."""


class BenefitUpdate(BaseModel):
    """Changes of a benefit; what is absent stays."""

    description: str | None = Field(default=None, min_length=3, max_length=42)
    metadata: Metadata | None = None
    properties: dict[str, Any] | None = None


def routes(api: Api) -> list[Route]:
    """The benefit and grant endpoints."""
    return [
        api.route("GET", "/benefits/", listing),
        api.route("POST", "/benefits/", create, status=201),
        api.route("GET", "/benefits/{id}", lambda call: show(call.document("benefit"))),
        api.route("PATCH", "/benefits/{id}", update),
        api.route("DELETE", "/benefits/{id}", delete, status=204),
        api.route("GET", "/benefits/{id}/grants", lambda call: grants(call, call.document("benefit")["id"])),
        api.route("GET", "/benefit-grants/", grants),
    ]


def create(call: Call) -> Document:
    """Make a benefit. A credit's meter must exist."""
    given = call.read(BenefitCreate).root
    if isinstance(given, CreditCreate) and call.polar.tables.get("meter", given.properties.meter_id) is None:
        raise invalid(("properties", "meter_id"), "Meter does not exist.", given.properties.meter_id)
    visibility = given.visibility or ("private" if given.type == "feature_flag" else "public")
    benefit = {**call.polar.base(), **given.model_dump(), "visibility": visibility,
               "organization_id": call.polar.organization_id}
    return show(call.polar.tables.add("benefit", benefit))


def update(call: Call) -> Document:
    """Change a benefit; grants already made keep their units until the next period."""
    benefit = call.document("benefit")
    given = call.read(BenefitUpdate).model_dump(exclude_none=True)
    properties = {**benefit["properties"], **given.pop("properties", {})}
    return show(call.polar.touch({**benefit, **given, "properties": properties}))


def delete(call: Call) -> None:
    """Delete a benefit, take it from all products, and revoke its grants."""
    benefit = call.document("benefit")
    for product in call.polar.tables.find("product"):
        if benefit["id"] in product["benefit_ids"]:
            product["benefit_ids"].remove(benefit["id"])
            call.polar.touch(product)
    for grant in call.polar.tables.find("grant", benefit_id=benefit["id"]):
        if grant["revoked_at"] is None:
            revoke(call.polar, grant)
    call.polar.tables.save({**benefit, "_deleted": True})


def listing(call: Call) -> Document:
    """Benefits, the latest first."""
    found = [benefit for benefit in call.polar.tables.find("benefit", newest_first=True) if "_deleted" not in benefit]
    found = matching(found, call, "type", "id", "organization_id")
    if (query := call.one("query")) is not None:
        found = [benefit for benefit in found if query.lower() in benefit["description"].lower()]
    return page(call, found, show)


def show(benefit: Document) -> Document:
    """A benefit as it is answered."""
    shown = {"id": benefit["id"], "created_at": benefit["created_at"], "modified_at": benefit["modified_at"],
             "type": benefit["type"], "description": benefit["description"], "selectable": True, "deletable": True,
             "is_deleted": "_deleted" in benefit, "organization_id": benefit["organization_id"]}
    return {**shown, "metadata": benefit["metadata"], "visibility": benefit["visibility"],
            "properties": benefit["properties"], "visibility_configurable": True}


def public(benefit: Document) -> Document:
    """A benefit as a checkout shows it. A credit's properties, newer than the document, are required by the SDK."""
    shown = show(benefit)
    kept = {key: shown[key] for key in PUBLIC_FIELDS}
    if benefit["type"] != "meter_credit":
        return kept
    return {**kept, "properties": {key: benefit["properties"][key] for key in ("units", "meter_id")}}


def grant(polar: Polar, subscription: Document, benefit: Document) -> Document:
    """Grant a benefit for a subscription, anew if it had been revoked, and tell so."""
    now = stamp(polar.now())
    earlier = polar.tables.find("grant", subscription_id=subscription["id"], benefit_id=benefit["id"])
    if earlier:
        granted = polar.touch({**earlier[0], "granted_at": now, "revoked_at": None})
        outgoing.emit(polar, "benefit_grant.updated", show_grant(polar, granted))
        return granted
    granted = polar.tables.add("grant", {
        **polar.base(), "granted_at": now, "revoked_at": None, "subscription_id": subscription["id"],
        "customer_id": subscription["customer_id"], "benefit_id": benefit["id"], "credited_units": 0})
    outgoing.emit(polar, "benefit_grant.created", show_grant(polar, granted))
    return granted


def revoke(polar: Polar, granted: Document) -> Document:
    """Take a grant back, and tell so."""
    granted = polar.touch({**granted, "revoked_at": stamp(polar.now()), "credited_units": 0})
    outgoing.emit(polar, "benefit_grant.revoked", show_grant(polar, granted))
    return granted


def grants(call: Call, benefit_id: str | None = None) -> Document:
    """Grants, the latest first, of one benefit or one customer."""
    polar = call.polar
    found = matching(polar.tables.find("grant", newest_first=True), call, "customer_id")
    found = [each for each in found if benefit_id in (None, each["benefit_id"])]
    if externals := call.query.get("external_customer_id"):
        owners = {owner["id"] for external in externals if (owner := customers.with_external_id(polar, external))}
        found = [each for each in found if each["customer_id"] in owners]
    if (wanted := call.flag("is_granted")) is not None:
        found = [each for each in found if (each["revoked_at"] is None) == wanted]
    return page(call, found, lambda each: show_grant(polar, each))


def show_grant(polar: Polar, granted: Document) -> Document:
    """A grant as it is answered and as webhooks carry it."""
    benefit = polar.tables.need("benefit", granted["benefit_id"])
    customer = customers.owner(polar, granted["customer_id"])
    revoked = granted["revoked_at"] is not None
    properties: Document = {}
    if benefit["type"] == "meter_credit":
        properties = {"last_credited_meter_id": benefit["properties"]["meter_id"],
                      "last_credited_units": granted["credited_units"] or benefit["properties"]["units"],
                      "last_credited_at": granted["granted_at"]}
    return {
        **{key: granted[key] for key in ("created_at", "modified_at", "id")},
        "granted_at": granted["granted_at"], "is_granted": not revoked, "revoked_at": granted["revoked_at"],
        "is_revoked": revoked, "subscription_id": granted["subscription_id"], "order_id": None,
        "customer_id": granted["customer_id"], "member_id": None, "benefit_id": granted["benefit_id"], "error": None,
        "customer": customers.show(polar, customer), "member": None, "benefit": show(benefit),
        "properties": properties, "previous_properties": None,
    }
