"""Where Polar's checkout leads back to."""

from __future__ import annotations

import reflex as rx

from chatapp.components.card import card
from chatapp.state.checkout import CheckoutResult
from chatapp.state.viewer import Viewer


def success() -> rx.Component:
    """Says that the plan is active once it is, and that it is not yet, until then."""
    return card(
        "Thank you",
        rx.el.div(
            rx.match(
                CheckoutResult.phase,
                ("arrived", rx.fragment(
                    rx.el.p("Your plan is now ", rx.el.strong(Viewer.plan_name), "."),
                    rx.el.p(rx.el.a("Go on asking", href="/", class_name="button primary wide"),
                            style={"padding_top": "18px"}))),
                ("late", rx.fragment(
                    rx.el.p("The payment's confirmation takes longer than usual. Your plan changes by itself as soon "
                            "as it arrives; you need not pay again."),
                    rx.el.p(rx.el.a("Back to the chat", href="/", class_name="button wide"),
                            style={"padding_top": "18px"}))),
                ("signed_out", rx.el.p("You are signed out here. ", rx.el.a("Sign in", href="/sign-in/"),
                                       " to see your plan.")),
                rx.fragment(
                    rx.el.p("Waiting for the payment's confirmation. This takes a few seconds."),
                    rx.el.div(class_name="progress", role="progressbar", aria_label="Waiting for the confirmation",
                              style={"margin_top": "18px"})),
            ),
            aria_live="polite",
        ),
    )


def cancelled() -> rx.Component:
    """The person came back without paying."""
    return card(
        "Nothing was paid",
        rx.el.p("You left the checkout, so nothing changed. Your chats and your plan are as they were."),
        rx.el.p(rx.el.a("Back to the chat", href="/", class_name="button primary wide")),
    )
