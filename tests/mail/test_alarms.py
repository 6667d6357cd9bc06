"""The operator's mail about the books."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from sqlmodel import select

from chatapp import mail
from chatapp.billing.books import Difference
from chatapp.clients.resend import Resend
from chatapp.db import Database
from chatapp.models import OutboxMessage
from chatapp.settings import Settings, load

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
FOUND = [Difference("acct-1", "ledger and Polar", Decimal("24000.500"), Decimal(24_005), SINCE),
         Difference("acct-2", "undelivered", Decimal(2496), Decimal(0))]


@dataclass
class Services:
    settings: Settings
    db: Database

    @property
    def resend(self) -> Resend:
        raise AssertionError("nothing is sent here")


def _mails(db: Database) -> list[OutboxMessage]:
    with db.reading() as session:
        return list(session.exec(select(OutboxMessage).order_by(OutboxMessage.key)).all())


def test_each_operator_gets_one_mail_a_day_with_a_line_for_each_difference(db: Database) -> None:
    services = Services(replace(load({}), operator_emails=("a@example.com", "b@example.com")), db)
    for _ in range(2):
        mail.alarm(services, FOUND)
    first, second = _mails(db)
    assert (first.payload["to"], second.payload["to"]) == ("a@example.com", "b@example.com")
    assert first.payload["subject"] == "2 differences between the ledger and Polar"
    for part in ("html", "text"):
        assert ("ledger and Polar, account acct-1 since 2026-11-01 00:00 UTC: ledger 24000.5, Polar 24005 micro-dollars"
                in first.payload[part])
        assert "undelivered, account acct-2: waiting 2496, at Polar 0 micro-dollars" in first.payload[part]


def test_without_an_operator_nobody_is_written_to(db: Database) -> None:
    mail.alarm(Services(load({}), db), FOUND)
    assert _mails(db) == []


def test_a_thousand_differences_make_a_short_mail(db: Database) -> None:
    services = Services(replace(load({}), operator_emails=("a@example.com",)), db)
    mail.alarm(services, FOUND * 500)
    [one] = _mails(db)
    assert "… and 960 more." in one.payload["text"]
    assert len(one.payload["html"]) < 20_000
