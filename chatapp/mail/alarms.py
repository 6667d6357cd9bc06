"""What the operator is told by mail."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.billing.books import Difference
from chatapp.db import now
from chatapp.mail import queue, templates
from chatapp.mail.queue import MailServices


def alarm(services: MailServices, differences: Sequence[Difference]) -> None:
    """Tell every operator what does not agree in the books: one mail a day to each, whatever is found again."""
    mail = templates.books_differ(services.settings, [difference.in_words() for difference in differences])
    with services.db.session() as session:
        for address in services.settings.operator_emails:
            queue.enqueue(session, address, mail, f"books-differ:{now():%Y-%m-%d}:{address}"[:200])
