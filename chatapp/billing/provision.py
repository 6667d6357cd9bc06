"""Polar's side of the catalogue: the meter and the products, made once and found again ever after.

Interrupted after any step, the next run finds what is there by its key and goes on. Two runs at once exclude each
other by a lease; two installations that share an organization at Polar and nothing else settle on the older object.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlmodel import Session, col, select

from chatapp.billing import leases
from chatapp.billing.catalog import PLANS, Plan
from chatapp.billing.sql import insert
from chatapp.billing.usage_payload import BILLED, CHARGE_PROPERTY
from chatapp.clients.errors import Unavailable
from chatapp.db import now
from chatapp.models import PolarObject
from chatapp.settings import Settings

if TYPE_CHECKING:
    from chatapp.services import Services

METER = "meter:usage"
PRODUCT = "product:"
CENTS_PER_MICROUSD = "0.0001"
MICRO_PER_USD = 1_000_000
LEASE_SECONDS = 120.0
_JOB = "provision"
_POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalogue:
    """Polar's ids of our objects: the priced meter, and the products by plan."""

    meter_id: str
    products: dict[str, str]

    def plan_of(self, product_id: str) -> str | None:
        """The plan's key of a product; None for a product that is not ours."""
        return next((plan for plan, known in self.products.items() if known == product_id), None)


async def apply(services: Services) -> Catalogue:
    """Make sure that Polar has the meter and the products, and record their ids.

    Waits while another process does the same. Raises `Unavailable` or `Rejected` when Polar does.
    """
    while not await _claimed(services):  # noqa: ASYNC110 - the one that is waited for may be another process
        await asyncio.sleep(_POLL_SECONDS)
    try:
        catalogue = await _apply(services)
    except BaseException as error:
        leases.give_up(services.db, _JOB, repr(error), now())
        raise
    await asyncio.to_thread(leases.finish, services.db, _JOB, "done", now())
    return catalogue


async def _claimed(services: Services) -> bool:
    return await asyncio.to_thread(leases.claim, services.db, _JOB, LEASE_SECONDS, now(), repeats=True)


def known(session: Session, settings: Settings) -> Catalogue | None:
    """The recorded catalogue of the Polar organization that is configured now; None until `apply` has made it."""
    rows = session.exec(select(PolarObject).where(PolarObject.fingerprint == _fingerprint(settings))).all()
    ids = {row.key: row.polar_id for row in rows}
    products = {plan.key: ids[PRODUCT + plan.key] for plan in _for_sale() if PRODUCT + plan.key in ids}
    if METER not in ids or len(products) < len(_for_sale()):
        return None
    return Catalogue(ids[METER], products)


def required(session: Session, settings: Settings) -> Catalogue:
    """`known`, or `Unavailable`: the catalogue is made in the background at the start, so a later attempt has it."""
    catalogue = known(session, settings)
    if catalogue is None:
        raise Unavailable("The catalogue at Polar is not set up yet.")
    return catalogue


async def _apply(services: Services) -> Catalogue:
    polar = services.polar.catalog
    meter_id = await _one(services, METER, polar.find_meter, lambda: polar.create_sum_meter(
        METER, name="Usage", event_name=BILLED, property_name=CHARGE_PROPERTY, label="USD", multiplier=MICRO_PER_USD,
    ))
    products = {}
    for plan in _for_sale():
        def create(plan: Plan = plan) -> Awaitable[str]:
            return polar.create_monthly_product(
                PRODUCT + plan.key, name=plan.name, description=_description(plan),
                fixed_cents=int(plan.price_usd_per_month * 100), meter_id=meter_id if plan.billable else None,
                unit_amount_cents=CENTS_PER_MICROUSD,
            )
        products[plan.key] = await _one(services, PRODUCT + plan.key, polar.find_product, create)
    return Catalogue(meter_id, products)


async def _one(
    services: Services, key: str, find: Callable[[str], Awaitable[str | None]], create: Callable[[], Awaitable[str]]
) -> str:
    polar_id = await find(key)
    if polar_id is None:
        created = await create()
        # Asked again, because another installation may have made one meanwhile: all take the oldest.
        polar_id = await find(key) or created
        _log.info("Made %s at Polar: %s.", key, polar_id)
    await asyncio.to_thread(_record, services, key, polar_id)
    return polar_id


def _record(services: Services, key: str, polar_id: str) -> None:
    values = {"polar_id": polar_id, "fingerprint": _fingerprint(services.settings)}
    with services.db.session() as session:
        session.exec(insert(session, PolarObject).values(key=key, created_at=now(), **values)
                     .on_conflict_do_update(index_elements=[col(PolarObject.key)], set_=values))


def _for_sale() -> list[Plan]:
    return [plan for plan in PLANS.values() if plan.for_sale]


def _description(plan: Plan) -> str:
    if plan.billable:
        return f"Each answer at what it cost plus {plan.markup:.0%}, invoiced monthly."
    return "Every answer included."


def _fingerprint(settings: Settings) -> str:
    """Names the organization at Polar, so that ids of the emulator or the sandbox are never used in production."""
    return hashlib.sha256(f"{settings.polar.url} {settings.polar.key}".encode()).hexdigest()
