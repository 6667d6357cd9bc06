"""What the page says for a `?notice=` code after one of billing's redirects."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "unknown_plan": "There is no such plan.",
    "sign_in_first": "Sign in first, so that your plan has an owner.",
    "already_subscribed": "You have this plan already.",
    "email_taken": "Your e-mail address already belongs to another customer. Write to us and we will put it right.",
    "update_payment": "Your last payment did not go through. Update your payment method in the portal first.",
    "usage_pending": "An answer is still being written, or its usage is on its way to the invoice. Try again in a "
                     "minute.",
    "plan_changing": "Your plan is being changed already. Try again in a minute.",
    "billing_unavailable": "The payment service does not answer. Nothing was changed; try again in a minute.",
    "billing_refused": "The payment service refused. Nothing was changed; we have been told.",
    "no_invoices_yet": "There is nothing to manage yet: choose a plan first.",
    "plan_changed": "Your plan has been changed.",
    "plan_changes_later": "Your plan changes when the current period ends.",
}


class BillingRefused(Exception):
    """A billing action that was not carried out.

    Attributes:
        code: a key of `TEXTS`. text: what the person is told.
    """

    def __init__(self, code: str) -> None:
        self.code, self.text = code, TEXTS[code]
        super().__init__(self.text)
