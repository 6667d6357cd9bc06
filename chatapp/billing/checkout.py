"""The ways to a plan: a checkout at Polar, a switch between plans, and the portal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatapp.billing import delivery, provision, subscriptions, switches
from chatapp.billing.balances import ONGOING
from chatapp.billing.catalog import PLANS
from chatapp.billing.texts import BillingRefused
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.polar_types import NOT_FOUND, EmailTaken
from chatapp.db import now
from chatapp.models import Subscription

if TYPE_CHECKING:
    from chatapp.services import Services

_log = logging.getLogger(__name__)


async def start(services: Services, account_id: str, email: str, plan_key: str) -> str:
    """The address to send the person to: Polar's checkout, or back to the app where the plan is switched at once.

    Raises:
        BillingRefused: with the code and the text for the person; nothing was changed.
    """
    plan = PLANS.get(plan_key)
    if plan is None or not plan.for_sale:
        raise BillingRefused("unknown_plan")
    if not email:
        raise BillingRefused("sign_in_first")
    with _refusals("checkout"):
        catalogue = await _catalogue(services)
        await services.polar.ensure_customer(account_id, email)
        await subscriptions.refresh(services, account_id)
        subscription = await asyncio.to_thread(_subscription, services, account_id)
        if subscription is not None:
            return await _switch(services, subscription, plan_key, catalogue.products[plan_key])
        await asyncio.to_thread(subscriptions.note_checkout, services.db, account_id, now())
        url = services.settings.public_url
        made = await services.polar.create_checkout(
            product_id=catalogue.products[plan_key], external_id=account_id, email=email,
            success_url=f"{url}/checkout/success/?checkout_id={{CHECKOUT_ID}}",
            return_url=f"{url}/checkout/cancelled/", metadata={"account": account_id, "plan": plan_key},
        )
    return made.url


async def portal(services: Services, account_id: str) -> str:
    """The address of a fresh session in Polar's portal: invoices, payment method, cancelling.

    Raises:
        BillingRefused: Polar does not know the account yet, or does not answer.
    """
    with _refusals("portal"):
        try:
            return await services.polar.create_portal(account_id, f"{services.settings.public_url}/")
        except Rejected as refusal:
            if refusal.status in (NOT_FOUND, 422):
                raise BillingRefused("no_invoices_yet") from refusal
            raise


async def _switch(services: Services, subscription: Subscription, plan_key: str, product_id: str) -> str:
    """Move an ongoing subscription. Usage that Polar has not received before the switch would never be billed."""
    if subscription.plan == plan_key:
        raise BillingRefused("already_subscribed")
    if subscription.status == "past_due":
        raise BillingRefused("update_payment")
    await delivery.deliver(services, account_id=subscription.account_id)
    await asyncio.to_thread(switches.begin, services.db, subscription.account_id, now())
    # What is paid in advance is used up first; what is paid afterwards can end at once, with an invoice.
    later = not PLANS[subscription.plan].billable
    try:
        await services.polar.switch_product(subscription.polar_subscription_id, product_id, at_next_period=later)
    except (Unavailable, Rejected) as error:
        if isinstance(error, Rejected) or not error.may_have_run:
            await asyncio.to_thread(switches.abandon, services.db, subscription.account_id)
        raise
    await subscriptions.refresh(services, subscription.account_id)
    await asyncio.to_thread(switches.finish, services.db, subscription.account_id, now())
    return f"{services.settings.public_url}/?notice={'plan_changes_later' if later else 'plan_changed'}"


async def _catalogue(services: Services) -> provision.Catalogue:
    def read() -> provision.Catalogue | None:
        with services.db.reading() as session:
            return provision.known(session, services.settings)

    return await asyncio.to_thread(read) or await provision.apply(services)


def _subscription(services: Services, account_id: str) -> Subscription | None:
    with services.db.reading() as session:
        found = session.get(Subscription, account_id)
    return found if found is not None and found.status in ONGOING else None


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except EmailTaken as error:
        _log.error("%s: %s", what, error)
        raise BillingRefused("email_taken") from error
    except Unavailable as error:
        _log.warning("%s: %s", what, error)
        raise BillingRefused("billing_unavailable") from error
    except Rejected as error:
        _log.error("%s: %s", what, error)
        raise BillingRefused("billing_refused") from error
