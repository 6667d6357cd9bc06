"""Every mail about an account. A link leads to a page with a button: programs that open links do nothing by it."""

from __future__ import annotations

from email.utils import parseaddr
from urllib.parse import urlencode, urlsplit

from chatapp.mail.layout import Button, Mail, compose
from chatapp.settings import Settings

NOT_YOU = "If you did not ask for this, you need not do anything: without the link nothing changes."
ALARM = "If this was not you, choose a new password at once and write to us."


def confirm_link(settings: Settings, token_hash: str, kind: str, next_path: str = "/") -> str:
    """The page that asks for a click before it uses the token. `next_path` is where the person goes afterwards."""
    query = {"token_hash": token_hash, "type": kind, **({"next": next_path} if next_path != "/" else {})}
    return f"{settings.public_url}/auth/confirm/?{urlencode(query)}"


def sign_up(settings: Settings, link: str) -> Mail:
    """Confirm the address of a new account."""
    name = sender_name(settings)
    return compose(name, f"Confirm your address for {name}",
                   ["Welcome. One click, and your account is ready. The link works once, for one hour."],
                   button=Button("Confirm my address", link), after=NOT_YOU)


def recovery(settings: Settings, link: str) -> Mail:
    """Choose a new password."""
    return compose(sender_name(settings), "Choose a new password",
                   ["Somebody, probably you, has asked for a new password. The link works once, for one hour."],
                   button=Button("Choose a new password", link), after=NOT_YOU)


def magic_link(settings: Settings, link: str) -> Mail:
    """Sign in without a password."""
    name = sender_name(settings)
    return compose(name, f"Sign in to {name}", ["Here is your link to sign in. It works once, for one hour."],
                   button=Button("Sign in", link), after=NOT_YOU)


def invite(settings: Settings, link: str) -> Mail:
    """Take up an invitation."""
    name = sender_name(settings)
    return compose(name, f"You are invited to {name}", [f"An account at {name} is waiting for you."],
                   button=Button("Accept the invitation", link),
                   after="If you do not know what this is about, ignore this mail.")


def email_change_current(settings: Settings, link: str, new_email: str) -> Mail:
    """To the present address: agree to the change."""
    return compose(sender_name(settings), "Agree to your new e-mail address",
                   [f"Your account is to move to {new_email}.",
                    "Agree here, and by the link in the mail to the new address; then the change is done."],
                   button=Button("Agree to the change", link), after=f"{NOT_YOU} {ALARM}")


def email_change_new(settings: Settings, link: str) -> Mail:
    """To the new address: prove that it is theirs."""
    name = sender_name(settings)
    return compose(name, "Confirm your new e-mail address", [f"This address is to be the one of an account at {name}."],
                   button=Button("Confirm this address", link), after=NOT_YOU)


def reauthentication(settings: Settings, code: str) -> Mail:
    """A code that proves, to somebody signed in already, that it is still they."""
    return compose(sender_name(settings), f"{code} is your code", ["Type this code to go on:"], code=code, after=ALARM)


def already_registered(settings: Settings) -> Mail:
    """To somebody who signed up with the address of an account: the form must not tell them, the mail may."""
    name = sender_name(settings)
    return compose(name, f"You have an account at {name} already",
                   ["Somebody, probably you, has tried to make a new account with this address. There is one already.",
                    "Sign in as usual; there you can also ask for a new password."],
                   button=Button("Sign in", f"{settings.public_url}/sign-in/"),
                   after="If this was not you, you need not do anything.")


def password_changed(settings: Settings) -> Mail:
    """To the owner, after a new password."""
    return compose(sender_name(settings), "Your password was changed",
                   ["Your account has a new password. Every browser that was signed in has been signed out."],
                   button=Button("Choose another password", f"{settings.public_url}/new-password/"), after=ALARM)


NOTICES = {
    "password_changed_notification": "Your account has a new password.",
    "email_changed_notification": "Your account has a new e-mail address: {email}.",
    "phone_changed_notification": "Your account has a new phone number.",
    "identity_linked_notification": "Your account can now be entered with {provider}, too.",
    "identity_unlinked_notification": "Your account can no longer be entered with {provider}.",
    "mfa_factor_enrolled_notification": "Your account has a new second factor ({factor_type}).",
    "mfa_factor_unenrolled_notification": "A second factor ({factor_type}) was removed from your account.",
}
"""What Supabase can be told to report to an account's owner, by its `email_action_type`."""


def notice(settings: Settings, action: str, **details: str) -> Mail:
    """One of NOTICES; `details` are `email`, `provider` and `factor_type`."""
    return compose(sender_name(settings), "A change to your account", [NOTICES[action].format(**details)], after=ALARM)


MOST_LINES = 40


def books_differ(settings: Settings, lines: list[str]) -> Mail:
    """To the operator: what the reconciliation found, a line each."""
    shown = lines[:MOST_LINES]
    more = [f"… and {len(lines) - MOST_LINES} more."] if len(lines) > MOST_LINES else []
    count = "One difference" if len(lines) == 1 else f"{len(lines)} differences"
    return compose(
        sender_name(settings), f"{count} between the ledger and Polar",
        ["The nightly reconciliation found what should not be there. Nothing was changed by itself.", *shown, *more],
        after="`python -m chatapp.billing reconcile` looks again, `explain EVENT` shows how a charge came about, "
              "`retry-parked` sends again what Polar refused. docs/billing.md says what each line means.")


def sender_name(settings: Settings) -> str:
    """The product's name: the one in MAIL_FROM, else the host that people open."""
    return parseaddr(settings.mail_from)[0] or urlsplit(settings.public_url).hostname or "chatapp"
