"""What any unknown address shows."""

from __future__ import annotations

import reflex as rx

from chatapp.components.card import plain_card


def missing() -> rx.Component:
    """There is no such page, and a way on."""
    return plain_card(
        "This page does not exist",
        rx.el.p("The address may be mistyped, or the page has moved. Your chats are where they were."),
        rx.el.p(rx.el.a("To the chat", href="/", class_name="button primary wide")),
    )
