"""Customer sessions: the key to a customer's portal."""

from __future__ import annotations

import secrets
from datetime import timedelta
from urllib.parse import urlencode

from pydantic import UUID4, BaseModel, Field, model_validator
from starlette.routing import Route

from emulators.polar import customers
from emulators.polar.context import Polar, stamp
from emulators.polar.errors import invalid
from emulators.polar.http import Api, Call
from emulators.polar.tables import Document


class SessionCreate(BaseModel):
    """A session for one customer, named by either id."""

    customer_id: UUID4 | None = None
    external_customer_id: str | None = None
    return_url: str | None = Field(default=None, pattern="^https?://")

    @model_validator(mode="after")
    def _somebody(self) -> SessionCreate:
        if self.customer_id is None and self.external_customer_id is None:
            raise ValueError("Either customer_id or external_customer_id is required.")
        return self


def routes(api: Api) -> list[Route]:
    """The one endpoint of customer sessions."""
    return [api.route("POST", "/customer-sessions/", create, status=201)]


def create(call: Call) -> Document:
    """Open a session, valid for an hour."""
    polar, given = call.polar, call.read(SessionCreate)
    if given.external_customer_id is not None:
        name, value = "external_customer_id", given.external_customer_id
        customer = customers.with_external_id(polar, value)
    else:
        name, value = "customer_id", str(given.customer_id)
        customer = polar.tables.get("customer", value)
    if customer is None:
        raise invalid((name,), "Customer does not exist.", value)
    token = "polar_mst_" + secrets.token_urlsafe(32)
    session = polar.tables.add("customer_session", {
        **polar.base(), "token": token, "return_url": given.return_url, "customer_id": customer["id"],
        "expires_at": stamp(polar.now() + timedelta(seconds=polar.settings.session_seconds))})
    query = urlencode({"customer_session_token": token, "email": customer["email"]})
    shown = {key: session[key] for key in ("created_at", "modified_at", "id", "token", "expires_at", "return_url")}
    return {**shown, "customer_portal_url": f"{polar.world.config.url}/polar/portal?{query}",
            "customer_id": customer["id"], "customer": customers.show(polar, customer)}


def find(polar: Polar, token: str) -> Document | None:
    """The valid session with that token, or None."""
    found = polar.tables.find("customer_session", token=token)
    return found[0] if found and found[0]["expires_at"] > stamp(polar.now()) else None
