"""One charge in words: which quantities, at which prices, with which markup, and where its event is now."""

from __future__ import annotations

from decimal import Decimal

from sqlmodel import Session, select

from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import format_usd, usd
from chatapp.db import Database
from chatapp.models import OutboxMessage, UsageEvent


def explain(db: Database, event_id: str) -> str | None:
    """The lines that lead to a ledger row's charge; None if there is no such row."""
    with db.reading() as session:
        event = session.get(UsageEvent, event_id)
        if event is None:
            return None
        return "\n".join([*_head(event), *_sums(event), f"delivery: {_delivery(session, event_id)}"])


def _head(event: UsageEvent) -> list[str]:
    exactness = "measured" if event.exact else "estimated"
    return [
        f"{event.occurred_at.isoformat()}  {event.kind} {event.name} of {event.provider}: {event.status}, {exactness}",
        f"account {event.account_id}  turn {event.turn_id}  thread {event.thread_id}",
    ]


def _sums(event: UsageEvent) -> list[str]:
    prices = event.terms["prices"]
    lines = []
    for bucket, quantity in event.quantities.items():
        if prices is None or bucket not in prices["usd_per_unit"]:
            lines.append(f"  {quantity} {bucket}")
            continue
        unit = Decimal(prices["usd_per_unit"][bucket])
        lines.append(f"  {quantity} {bucket} × ${unit:f} = ${unit * quantity:f}")
    source = "reported by the vendor" if prices is None else f"prices: {prices['version']}"
    lines.append(f"cost ${event.cost_usd} ({source})")
    if event.billable:
        lines.append(f"charge × (1 + {event.terms['markup']}) = ${usd(event.charge_nanousd):f}"
                     f" ({format_usd(event.charge_nanousd)})")
    else:
        lines.append(f"charge nothing: included in the plan {event.terms['plan']}")
    if event.overrun_nanousd:
        lines.append(f"above the hold, borne by the platform: ${usd(event.overrun_nanousd):f}")
    return lines


def _delivery(session: Session, event_id: str) -> str:
    message = session.exec(select(OutboxMessage).where(
        OutboxMessage.channel == CHANNEL, OutboxMessage.key == event_id)).one()
    if message.delivered_at is not None:
        return f"at Polar since {message.delivered_at.isoformat()}"
    if message.parked_at is not None:
        return f"parked at {message.parked_at.isoformat()}: {message.reason}"
    return f"pending, attempts so far: {message.attempts}. {message.reason}".strip()
