"""Pages that are one card: signing in, and what comes after a checkout."""

from __future__ import annotations

import reflex as rx

from chatapp.components.frame import BRAND
from chatapp.state.notices import Notices


def card(title: str, *content: rx.Component) -> rx.Component:
    """A page with one card. Errors and notices of the address are shown at its head."""
    return rx.el.main(
        rx.el.div(
            rx.el.a(BRAND, href="/", class_name="brand", style={"padding": "0"}),
            rx.el.h1(title),
            rx.cond(Notices.error != "", rx.el.p(Notices.error, class_name="alert", role="alert", id="error")),
            rx.cond(Notices.notice != "", rx.el.p(Notices.notice, role="status")),
            *content,
            class_name="card",
        ),
        class_name="page",
    )


def text_field(label: str, name: str, *, kind: str = "text", autocomplete: str = "off", hint: str = "",
               required: bool = True, value: rx.Var[str] | str = "") -> rx.Component:
    """A labelled input with its hint; `value` is what stands in it at first."""
    described = {"aria-describedby": f"{name}-hint"} if hint else {}
    return rx.el.div(
        rx.el.label(label, html_for=name),
        rx.el.input(id=name, name=name, type=kind, required=required, auto_complete=autocomplete,
                    default_value=value, key=value, custom_attrs=described),
        rx.el.p(hint, id=f"{name}-hint", class_name="hint") if hint else rx.fragment(),
        class_name="field",
    )


def submit(label: str) -> rx.Component:
    """The card's main button."""
    return rx.el.button(label, type="submit", class_name="button primary wide")


def hidden(name: str, value: rx.Var[str] | str) -> rx.Component:
    """A hidden field."""
    return rx.el.input(type="hidden", name=name, value=value, read_only=True)
