"""Pages that are one card: signing in, and what comes after a checkout."""

from __future__ import annotations

import reflex as rx

from chatapp.components.frame import BRAND
from chatapp.components.native import FormStart, post_form
from chatapp.state.notices import Notices

_TOLD = rx.State.is_hydrated
"""Whether the notices are of this page: until its loading was handled, they are of the one before it in this tab."""


def card(title: str, *content: rx.Component) -> rx.Component:
    """A page with one card. What its address has to tell is shown at its head, unless it belongs to a field."""
    return plain_card(
        title,
        rx.cond(_TOLD & (Notices.error != "") & (Notices.field == ""),
                rx.el.p(Notices.error, class_name="alert", role="alert", id="error")),
        rx.cond(_TOLD & (Notices.notice != ""), rx.el.p(Notices.notice, role="status")),
        *content,
    )


def plain_card(title: str, *content: rx.Component) -> rx.Component:
    """A page with one card that needs no state."""
    return rx.el.main(
        rx.el.div(
            rx.el.a(BRAND, href="/", class_name="brand", style={"padding": "0"}),
            rx.el.h1(title), *content,
            class_name="card",
        ),
        class_name="page",
    )


def card_form(*fields: rx.Component, action: str) -> rx.Component:
    """A native form that keeps the address and the name which were typed, and puts the cursor where it is needed."""
    return post_form(FormStart.create(ready=rx.State.is_hydrated, email=Notices.email, name=Notices.name,
                                      field=Notices.field), *fields, action=action)


def text_field(label: str, name: str, *, kind: str = "text", autocomplete: str = "off", hint: str = "",
               required: bool = True) -> rx.Component:
    """A labelled input with its hint, and with the error of the page's address if it is about this field."""
    wrong = _TOLD & (Notices.field == name)
    described = {"aria-invalid": rx.cond(wrong, "true", "false"), "aria-describedby": f"{name}-error {name}-hint"}
    return rx.el.div(
        rx.el.label(label, html_for=name),
        rx.el.input(id=name, name=name, type=kind, required=required, auto_complete=autocomplete,
                    custom_attrs=described),
        rx.cond(wrong, rx.el.p(Notices.error, id=f"{name}-error", class_name="error-text", role="alert")),
        rx.el.p(hint, id=f"{name}-hint", class_name="hint") if hint else rx.fragment(),
        class_name="field",
    )


def submit(label: str) -> rx.Component:
    """The card's main button."""
    return rx.el.button(label, type="submit", class_name="button primary wide")


def hidden(name: str, value: rx.Var[str] | str) -> rx.Component:
    """A hidden field."""
    return rx.el.input(type="hidden", name=name, value=value, read_only=True)
