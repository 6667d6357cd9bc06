"""The pages around an account: sign up, sign in, check the mail, confirm, a new password."""

from __future__ import annotations

import reflex as rx

from chatapp.components.addresses import api
from chatapp.components.card import card, card_form, hidden, submit, text_field
from chatapp.components.native import post_form
from chatapp.state.notices import Notices
from chatapp.state.runtime import runtime

HINT = "At least 8 characters; 15 or more are better."


def _again(path: str) -> rx.Component:
    return rx.el.div(
        card_form(_email(), rx.el.button("Send it again", type="submit", class_name="button wide"), action=api(path)),
        style={"padding_top": "12px"},
    )


def _email() -> rx.Component:
    return text_field("E-mail address", "email", kind="email", autocomplete="email")


def sign_in() -> rx.Component:
    """Sign in with e-mail and password."""
    return card(
        "Sign in",
        card_form(
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
        card_form(
            text_field("Name (optional)", "name", autocomplete="name", hint="Shown only to you.", required=False),
            _email(),
            text_field("Password", "password", kind="password", autocomplete="new-password",
                       hint=HINT),
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
        rx.el.p("If the address is right, a mail is on its way",
                rx.cond(Notices.email != "", rx.fragment(" to ", rx.el.strong(Notices.email))),
                ". Open the link in it to go on. It can take a minute; look among spam, too.",
                style={"overflow_wrap": "anywhere"}),
        inbox,
        rx.el.details(
            rx.el.summary("No mail?"),
            rx.cond(Notices.purpose == "recovery", _again("/api/auth/recover"), _again("/api/auth/resend")),
            open=rx.State.is_hydrated & (Notices.error != ""),
        ),
        rx.el.p(rx.el.a("Back to sign in", href="/sign-in/"), class_name="small"),
    )


def confirm() -> rx.Component:
    """Where the links in mails lead. Opening it changes nothing, so link scanners do no harm; the button does."""
    return card(
        "One more click",
        rx.cond(
            Notices.token_hash != "",
            rx.el.p(rx.cond(Notices.link_type == "recovery", "Then you choose a new password.",
                            "It confirms that this e-mail address is yours.")),
        ),
        rx.cond(
            Notices.token_hash != "",
            post_form(
                hidden("token_hash", Notices.token_hash), hidden("type", Notices.link_type),
                hidden("next", Notices.next), submit("Confirm and go on"), action=api("/api/auth/confirm"),
            ),
            rx.fragment(
                rx.cond(rx.State.is_hydrated & (Notices.error == ""),
                        rx.el.p("Open this page from the link in your mail.")),
                rx.el.a("Sign in", href="/sign-in/", class_name="button primary wide"),
                rx.el.p(rx.el.a("Forgot your password?", href="/new-password/"), class_name="small"),
            ),
        ),
    )


def new_password() -> rx.Component:
    """Ask for a mail, and, after its link, choose the new password."""
    return card(
        "Choose a new password",
        rx.cond(
            Notices.step == "choose",
            card_form(
                text_field("New password", "password", kind="password", autocomplete="new-password",
                           hint=HINT),
                submit("Set password"), action=api("/api/auth/new-password"),
            ),
            rx.fragment(
                rx.el.p("We send you a link with which you can choose one."),
                card_form(_email(), submit("Send me a mail"), action=api("/api/auth/recover")),
            ),
        ),
        rx.el.p(rx.el.a("Back to sign in", href="/sign-in/"), class_name="small"),
    )
