"""Billing by hand or by cron: `python -m chatapp.billing COMMAND`; without one it lists them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

from chatapp.billing import corrections, delivery, explain, holds, inbox, outbox, provision, reconcile
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import format_usd
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.db import Database, now
from chatapp.services import Services, build
from chatapp.settings import SettingsError, load

WEBHOOK_PATH = "/api/webhooks/polar"
_WITHOUT_SECRET = ("apply", "webhook")
"""The commands of the set-up, run before there is a webhook and its secret."""


async def _deliver(services: Services, _: argparse.Namespace) -> int:
    swept = holds.sweep(services.db, now())
    sent, read = await delivery.deliver(services), await inbox.process(services)
    print(f"{swept} dead holds settled, {sent} events delivered, {read} webhooks processed, "
          f"{outbox.pending(services.db, CHANNEL)} events still pending")
    return 0


async def _apply(services: Services, _: argparse.Namespace) -> int:
    catalogue = await provision.apply(services)
    print(f"meter {catalogue.meter_id}")
    for plan, product_id in catalogue.products.items():
        print(f"product {product_id}  {plan}")
    print(await _webhook_hint(services))
    return 0


async def _webhook_hint(services: Services) -> str:
    address = services.settings.api_url + WEBHOOK_PATH
    try:
        urls = await services.polar.catalog.webhook_urls()
    except Rejected as error:  # mostly a token without webhooks:write; meter and products are made all the same
        return f"Whether Polar delivers webhooks to {address} could not be seen: {error}"
    if address in urls:
        return f"Polar delivers webhooks to {address}"
    return f"No webhook endpoint at Polar delivers to {address}: `python -m chatapp.billing webhook` makes one."


async def _webhook(services: Services, _: argparse.Namespace) -> int:
    secret = await services.polar.catalog.create_webhook(services.settings.api_url + WEBHOOK_PATH)
    print(f"POLAR_WEBHOOK_SECRET={secret}")
    return 0


async def _reconcile(services: Services, _: argparse.Namespace) -> int:
    differences = await reconcile.reconcile(services)
    for difference in differences:
        print(difference.in_words())
    print(f"{len(differences)} differences")
    return 1 if differences else 0


async def _explain(services: Services, arguments: argparse.Namespace) -> int:
    text = explain.explain(services.db, arguments.event)
    print(text or f"The ledger has no event {arguments.event}.")
    return 0 if text else 1


async def _correct(services: Services, arguments: argparse.Namespace) -> int:
    try:
        row = corrections.correct(services.db, arguments.event, None, arguments.cost_usd, reason=arguments.reason,
                                  now=now())
    except corrections.NotCorrectable as error:
        print(error)
        return 1
    print(f"{row.id} stands now, with a charge of {format_usd(row.charge_nanousd)}: {row.terms['reason']}")
    return 0


def _dollars(text: str) -> Decimal:
    """An amount of dollars from the command line."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of dollars such as 0.0042")
    return amount


async def _retry_parked(services: Services, _: argparse.Namespace) -> int:
    print(f"{outbox.unpark(services.db, CHANNEL, now())} parked events are due again")
    return 0


_COMMANDS: dict[str, tuple[Callable[[Services, argparse.Namespace], Awaitable[int]], str]] = {
    "deliver": (_deliver, "deliver pending usage, process webhooks, settle dead holds"),
    "apply": (_apply, "make sure that Polar has the meter and the products"),
    "reconcile": (_reconcile, "hold the ledger against Polar; 1 if they differ"),
    "explain": (_explain, "show how one charge came about"),
    "correct": (_correct, "take a charge back and enter what the step really cost; never more is charged"),
    "webhook": (_webhook, "make Polar's webhook endpoint and print its secret"),
    "retry-parked": (_retry_parked, "queue again what Polar refused"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command with the settings of the environment; 0 if all is well."""
    return asyncio.run(_run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chatapp.billing", description="Billing by hand or by cron.")
    commands = parser.add_subparsers(required=True)
    for name, (function, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        tolerate = ("POLAR_WEBHOOK_SECRET",) if name in _WITHOUT_SECRET else ()
        command.set_defaults(function=function, tolerate=tolerate)
        if name in ("explain", "correct"):
            command.add_argument("event", help="the id of a ledger row")
        if name == "correct":
            command.add_argument("--cost-usd", type=_dollars, required=True, help="what it really cost, in dollars")
            command.add_argument("--reason", required=True, help="for whoever reads the ledger")
    return parser


async def _run(arguments: argparse.Namespace) -> int:
    try:
        services = build(load(tolerate=arguments.tolerate))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        await asyncio.to_thread(Database.migrate, services.db)
        return int(await arguments.function(services, arguments))
    except (Unavailable, Rejected) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await services.close()


if __name__ == "__main__":
    sys.exit(main())
