"""How often a form may be sent: counted per client address and per e-mail, in fixed windows, in the database.

All visitors share our server's address at Supabase, whose own limits therefore protect nobody: these do.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlmodel import Session, col, delete

from chatapp.accounts.errors import Throttled
from chatapp.db import Database
from chatapp.models import Throttle
from chatapp.settings import Settings


@dataclass(frozen=True)
class Rule:
    """How often in a window.

    Attributes:
        per_address: from one client address; generous, since offices and mobile networks share one.
        per_email: for one e-mail, wherever it is typed; None where the form has none.
        window_seconds: windows begin at multiples of this.
    """

    per_address: int
    per_email: int | None
    window_seconds: int


RULES = {
    "sign-in": Rule(100, 20, 15 * 60),
    "sign-up": Rule(30, 5, 60 * 60),
    "resend": Rule(30, 5, 60 * 60),
    "recover": Rule(30, 5, 60 * 60),
    "confirm": Rule(60, None, 15 * 60),
    "new-password": Rule(60, None, 15 * 60),
    "visitor": Rule(30, None, 60 * 60),
}


def check(
    db: Database, settings: Settings, action: str, address: str, now: datetime, *, email: str | None = None
) -> None:
    """Count one try. Raises Throttled if there were too many from this address, or for this e-mail.

    Args:
        db: the count is committed whether or not the try is allowed.
        settings: its secret key makes the e-mails' hashes useless to a reader of the table.
        action: key of RULES.
        address: the client's IP address; of IPv6, the /64 network counts, since one customer has all of it.
        now: the current time.
        email: as `forms.email_address` returns it.
    """
    rule = RULES[action]
    window = int(now.timestamp()) // rule.window_seconds * rule.window_seconds
    start = datetime.fromtimestamp(window, UTC)
    limits = {f"{action}:from:{_network(address)}": rule.per_address}
    if email is not None and rule.per_email is not None:
        limits[f"{action}:mail:{hashed(settings, email)}"] = rule.per_email
    with db.session() as session:
        # Sorted, so that two transactions that count the same two keys cannot wait for one another.
        over = [_count(session, db, key, start) > limits[key] for key in sorted(limits)]
    if any(over):
        raise Throttled((start + timedelta(seconds=rule.window_seconds) - now).total_seconds())


def sweep(session: Session, now: datetime) -> int:
    """Delete counts of windows that are over; returns how many."""
    longest = max(rule.window_seconds for rule in RULES.values())
    query = delete(Throttle).where(col(Throttle.window_start) < now - timedelta(seconds=2 * longest))
    return session.exec(query).rowcount


def hashed(settings: Settings, email: str) -> str:
    """An e-mail's name in tables that need not know it."""
    return hmac.new(settings.secret_key.encode(), email.encode(), hashlib.sha256).hexdigest()[:40]


def _count(session: Session, db: Database, key: str, start: datetime) -> int:
    insert = db.insert(Throttle).values(key=key, window_start=start, count=1)
    counted = insert.on_conflict_do_update(
        index_elements=["key", "window_start"], set_={"count": col(Throttle.count) + 1}
    )
    return int(session.execute(counted.returning(Throttle.count)).scalar_one())


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False).network_address)
    return str(ip)
