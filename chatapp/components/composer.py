"""Where one asks. It keeps its place at the foot of the page, whatever happens above it."""

from __future__ import annotations

import reflex as rx

from chatapp.components.addresses import api
from chatapp.components.icons import icon
from chatapp.components.native import AskForm
from chatapp.components.plans import update_payment
from chatapp.state.chat import COMPOSER, Chat, Latest
from chatapp.state.price import NextPrice
from chatapp.state.viewer import Viewer

PRICE = "next-price"
"""The id of what a question will cost, which describes the text field."""


def composer(*, new: bool) -> rx.Component:
    """The field with its button: send, or stop while an answer is being written.

    For a `new` chat, somebody without a session submits natively: the route makes a visitor's session and cookie,
    which no websocket event can do.
    """
    return rx.el.div(
        rx.el.div(
            _payment_due(),
            rx.cond(Chat.notice != "", rx.el.div(
                rx.el.p(Chat.notice),
                rx.el.button(icon("close"), type="button", class_name="icon-button", aria_label="Dismiss",
                             on_click=Chat.dismiss),
                class_name="notice", role="alert")),
            AskForm.create(_field(), _button(), connected=Viewer.known, native=new, action=api("/api/chat/start"),
                           on_ask=Chat.send),
            _under(),
            class_name="column",
        ),
        class_name="composer",
    )


def _payment_due() -> rx.Component:
    return rx.cond(Viewer.problem != "", rx.el.div(
        rx.el.p(Viewer.problem, role="status"),
        update_payment(),
        class_name="notice",
    ))


def _under() -> rx.Component:
    """The line below the field. It has its place before the price is known, so that nothing moves when it comes."""
    return rx.el.p(
        rx.cond(NextPrice.text != "", rx.fragment(
            rx.el.span(rx.el.span("Price of a question: ", class_name="visually-hidden"), NextPrice.text, id=PRICE),
            rx.el.span("·", class_name="dot", aria_hidden="true"))),
        rx.el.span("Answers can be wrong. Check the sources."),
        class_name="under",
    )


def _field() -> rx.Component:
    return rx.fragment(
        rx.el.label("Your question", html_for=COMPOSER, class_name="visually-hidden"),
        rx.el.textarea(id=COMPOSER, name=COMPOSER, rows=1, placeholder="Ask a question", required=True,
                       enter_key_submit=True, custom_attrs={"autoComplete": "off", "aria-describedby": PRICE}),
    )


def _button() -> rx.Component:
    return rx.cond(
        Latest.running != "",
        rx.el.button(icon("stop"), type="button", class_name="send", aria_label="Stop", title="Stop",
                     on_click=Chat.stop),
        _send(),
    )


def _send() -> rx.Component:
    return rx.el.button(icon("send"), type="submit", class_name="send", aria_label="Ask", title="Ask")
