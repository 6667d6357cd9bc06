"""One charge in words: which quantities, at which prices, with which markup, and where its event is now.

Every line is a sum that can be done by hand from the row alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal, localcontext

from sqlmodel import Session, select

from chatapp.billing import pricing
from chatapp.billing.corrections import corrected_id
from chatapp.billing.ledger import CHANNEL
from chatapp.billing.money import format_usd, usd
from chatapp.billing.pricing import Applied, UnitPrices
from chatapp.db import Database
from chatapp.models import OutboxMessage, UsageEvent

_EXACT = Context(prec=80)
_SIGNED = {"reversal": "takes back", "corrected": "replaces"}
"""What a correction's two rows do to the row that they correct."""


def explain(db: Database, event_id: str) -> str | None:
    """The lines that lead to a ledger row's charge; None if there is no such row."""
    with db.reading() as session:
        event = session.get(UsageEvent, event_id)
        if event is None:
            return None
        with localcontext(_EXACT):
            lines = [*_head(event), *_cost(event), *_charge(event)]
        return "\n".join([*lines, *_later(session, event_id), f"delivery: {_delivery(session, event_id)}"])


def _head(event: UsageEvent) -> Iterator[str]:
    exactness = "measured" if event.exact else "estimated"
    yield f"{event.occurred_at.isoformat()}  {event.kind} {event.name} of {event.provider}: {event.status}, {exactness}"
    yield f"account {event.account_id}  turn {event.turn_id}  thread {event.thread_id}"
    if event.corrects:
        reason = f": {event.terms['reason']}" if event.terms.get("reason") else ""
        yield f"{_SIGNED.get(event.status, 'corrects')} row {event.corrects}{reason}"


def _later(session: Session, event_id: str) -> Iterator[str]:
    """The row that stands in this one's place, if it was corrected."""
    standing = session.exec(select(UsageEvent).where(UsageEvent.id == corrected_id(event_id))).one_or_none()
    if standing is not None:
        yield f"taken back since: row {standing.id} stands in its place, charged {format_usd(standing.charge_nanousd)}"


def _cost(event: UsageEvent) -> Iterator[str]:
    """The quantities at their prices, their sum, and the cost that was entered with the reason for any difference."""
    stored = event.terms["prices"]
    prices = None if stored is None else pricing.from_json(stored)
    used = None if prices is None else pricing.applied(prices, event.quantities)
    total, priced = Decimal(0), False
    for bucket, quantity in event.quantities.items():
        unit = None if used is None else used.usd_per_unit.get(bucket)
        if unit is None:
            yield f"  {quantity} {bucket}"
            continue
        total, priced = total + unit * quantity, True
        yield f"  {quantity} {bucket} × ${unit:f} = {_usd(unit * quantity)}"
    if prices is not None and used is not None and priced:
        yield f"  together {_usd(total)} ({_source(prices, used)})"
    cost = Decimal(event.cost_usd)
    rounded = f", in whole nano-dollars {_usd(usd(event.cost_nanousd))}" if usd(event.cost_nanousd) != cost else ""
    yield f"cost {_usd(cost)}{rounded} ({_why(event, cost, total if priced else None)})"


def _source(prices: UnitPrices, used: Applied) -> str:
    words = [f"prices: {prices.version}"]
    if used.service_tier is not None:
        words.append(f"service tier {used.service_tier}")
    if used.above_input_tokens is not None:
        words.append(f"of an input above {used.above_input_tokens} tokens")
    elif prices.tiers:
        words.append(f"of an input up to {prices.tiers[0].above_input_tokens} tokens")
    return ", ".join(words)


def _why(event: UsageEvent, cost: Decimal, total: Decimal | None) -> str:
    """Where the cost comes from."""
    if total is not None and total == cost:
        return "the sum above" if event.exact else "the sum above, an estimate"
    if total is not None and not event.exact and abs(cost) < abs(total):
        return "an estimate, which never exceeds its hold"
    if event.exact:
        return "reported by the vendor"
    return "the vendor reported none: the most that the step could cost"


def _charge(event: UsageEvent) -> Iterator[str]:
    if event.bearer == "platform":
        yield "charge nothing: the platform bears it"
        return
    if not event.billable:
        yield f"charge nothing: included in the plan {event.terms['plan']}"
        return
    markup = Decimal(event.terms["markup"])
    yield (f"charge {_usd(Decimal(event.cost_usd))} × (1 + {markup}) = {_usd(Decimal(event.cost_usd) * (1 + markup))}"
           f", in whole nano-dollars {_usd(usd(event.charge_nanousd + event.overrun_nanousd))}")
    if event.overrun_nanousd:
        limit = "the row that it corrects" if event.corrects else "the hold"
        yield f"above {limit}, borne by the platform: {_usd(usd(event.overrun_nanousd))}"
    yield f"charged {_usd(usd(event.charge_nanousd))} ({format_usd(event.charge_nanousd)})"


def _usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):f}"


def _delivery(session: Session, event_id: str) -> str:
    message = session.exec(select(OutboxMessage).where(
        OutboxMessage.channel == CHANNEL, OutboxMessage.key == event_id)).one()
    if message.delivered_at is not None:
        return f"at Polar since {message.delivered_at.isoformat()}"
    if message.parked_at is not None:
        return f"parked at {message.parked_at.isoformat()}: {message.reason}"
    return f"pending, attempts so far: {message.attempts}. {message.reason}".strip()
