"""What a page says while it cannot reach the server, in place of Reflex's own toast with its addresses."""

from __future__ import annotations

import reflex as rx


def overlay(stateful: bool) -> rx.Component | None:
    """The app's overlay: a quiet line that comes with the first failed attempt and goes away by itself.

    It has a component of its own, because it reads a context that begins below the app's outermost one.
    """
    return rx.fragment(_connection_lost()) if stateful else None


@rx.memo
def _connection_lost() -> rx.Component:
    return rx.connection_banner(
        rx.el.p("No connection. We keep trying; what you typed stays here.", class_name="offline", role="status"))
