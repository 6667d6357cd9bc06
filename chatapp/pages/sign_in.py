"""The pages around an account: sign up, sign in, check the mail, confirm, a new password."""

from __future__ import annotations

import reflex as rx

from chatapp.components.addresses import api
from chatapp.components.card import card, hidden, submit, text_field
from chatapp.components.native import post_form
from chatapp.state.notices import Notices
from chatapp.state.runtime import runtime


def _again(path: str) -> rx.Component:
    return post_form(_email(), rx.el.button("Send it again", type="submit", class_name="button wide"),
                     action=api(path), style={"padding_top": "12px"})


def _email() -> rx.Component:
    return text_field("E-mail address", "email", kind="email", autocomplete="email", value=Notices.email)


def sign_in() -> rx.Component:
    """Sign in with e-mail and password."""
    return card(
        "Sign in",
        post_form(
            _email(),
            text_field("Password", "password", kind="password", autocomplete="current-password"),
            hidden("next", Notices.next), submit("Sign in"), action=api("/api/auth/sign-in"),
        ),
        rx.el.p(rx.el.a("Forgot your password?", href="/new-password/"), class_name="small"),
        rx.el.p("No account yet? ", rx.el.a("Sign up", href="/sign-up/"), class_name="small"),
    )


def sign_up() -> rx.Component:
    """Make an account."""
    return card(
        "Sign up",
        post_form(
            text_field("Name", "name", autocomplete="name", hint="Optional. Shown only to you.", required=False),
            _email(),
            text_field("Password", "password", kind="password", autocomplete="new-password",
                       hint="At least 8 characters; 15 or more are better."),
            hidden("next", Notices.next), submit("Sign up"), action=api("/api/auth/sign-up"),
        ),
        rx.el.p("Have an account? ", rx.el.a("Sign in", href="/sign-in/"), class_name="small"),
    )


def check_mail() -> rx.Component:
    """After a form that sends a mail. It says the same whether the address is known or not."""
    settings = runtime().services.settings
    inbox = rx.el.p("Development mode: the mail is in the ",
                    rx.el.a("emulated inbox", href=settings.emulators_url + "/console/mail", target="_blank"), ".",
                    class_name="small") if settings.resend.emulated else rx.fragment()
    return card(
        "Check your mail",
        rx.el.p("If the address is right, a mail is on its way. Open the link in it to go on. "
                "It can take a minute; look among spam, too."),
        inbox,
        rx.el.details(
            rx.el.summary("No mail?"),
            rx.cond(Notices.purpose == "recovery", _again("/api/auth/recover"), _again("/api/auth/resend")),
        ),
        rx.el.p(rx.el.a("Back to sign in", href="/sign-in/"), class_name="small"),
    )


def confirm() -> rx.Component:
    """Where the links in mails lead. Opening it changes nothing, so link scanners do no harm; the button does."""
    return card(
        "One more click",
        rx.cond(
            Notices.token_hash != "",
            post_form(
                hidden("token_hash", Notices.token_hash), hidden("type", Notices.link_type),
                hidden("next", Notices.next), submit("Confirm and go on"), action=api("/api/auth/confirm"),
            ),
            rx.el.p("Open this page from the link in your mail, or ",
                    rx.el.a("sign in", href="/sign-in/"), " to get a new one."),
        ),
    )


def new_password() -> rx.Component:
    """Ask for a mail, and, after its link, choose the new password."""
    return card(
        "Choose a new password",
        rx.cond(
            Notices.step == "choose",
            post_form(
                text_field("New password", "password", kind="password", autocomplete="new-password",
                           hint="At least 8 characters; 15 or more are better."),
                submit("Set password"), action=api("/api/auth/new-password"),
            ),
            post_form(_email(), submit("Send me a mail"), action=api("/api/auth/recover")),
        ),
        rx.el.p(rx.el.a("Back to sign in", href="/sign-in/"), class_name="small"),
    )
