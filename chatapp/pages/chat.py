"""`/` begins a chat, `/chat/<id>/` shows one and goes on with it."""

from __future__ import annotations

import reflex as rx

from chatapp.components.addresses import api
from chatapp.components.answer import answer
from chatapp.components.composer import composer
from chatapp.components.frame import frame
from chatapp.components.native import Example, Follow
from chatapp.components.plans import plan_dialog
from chatapp.state.chat import COMPOSER, Chat, Latest, MessageView

EXAMPLES = (
    "How do heat pumps compare with gas boilers?",
    "Plot how $1,000 grows at 5 % a year for 30 years",
    "What do we know about coffee and sleep?",
)

def new_chat() -> rx.Component:
    """The empty chat."""
    return frame(
        "",
        rx.el.div(
            rx.el.div(
                rx.el.h1("What do you want to know?"),
                rx.el.p("Answers with sources, computed where it takes computing, and the price of each one.",
                        class_name="muted"),
                rx.el.div(*[Example.create(target=COMPOSER, text=text) for text in EXAMPLES], class_name="examples"),
                class_name="column welcome",
            ),
            class_name="scroll",
        ),
        rx.fragment(composer(new=True), plan_dialog()),
    )


def open_chat() -> rx.Component:
    """One chat. Until the chat of the address is open, the state holds the one that this tab showed before."""
    thread_id = rx.State.thread_id  # type: ignore[attr-defined]  # the route's argument, which Reflex adds
    return frame(
        Chat.title,
        rx.cond(
            Chat.missing & rx.State.is_hydrated,
            _missing(),
            Follow.create(
                rx.el.div(
                    rx.cond(
                        Chat.open_id == thread_id,
                        rx.fragment(rx.foreach(Chat.messages, message_view), rx.foreach(Latest.messages, message_view),
                                    rx.cond(Latest.unfinished, _again())),
                        _skeleton(),
                    ),
                    class_name="column messages",
                ),
                class_name="scroll", watch=Chat.open_id + Latest.count.to_string(),
            ),
        ),
        rx.fragment(rx.cond(Chat.missing, rx.fragment(), composer(new=False)), plan_dialog()),
        current=Chat.open_id,
    )


def message_view(message: MessageView) -> rx.Component:
    """A question, or an answer in whatever state it is. `message` is the Var that foreach gives, and reads like one."""
    return rx.cond(
        message.role == "user",
        rx.el.div(message.text, class_name="question", role="group", aria_label="You asked"),
        rx.el.div(
            rx.el.h2("Answer", class_name="visually-hidden"),
            answer(
                message_id=message.id, parts=message.parts, sources=message.sources, status=message.status,
                error=message.error, price=message.price, price_note=message.price_note,
                src=rx.cond(message.src != "", api() + message.src, ""), api_url=api(),
                on_done=Chat.finished,
            ),
        ),
    )


def _again() -> rx.Component:
    return rx.el.div(rx.el.button("Ask again", type="button", class_name="button", on_click=Chat.again))


def _skeleton() -> rx.Component:
    return rx.el.div(
        *[rx.el.span(style={"width": width}) for width in ("40%", "92%", "85%", "60%")],
        class_name="skeleton", role="status", aria_label="Loading the chat",
    )


def _missing() -> rx.Component:
    return rx.el.div(
        rx.el.div(
            rx.el.h1("This chat is not here"),
            rx.el.p("It does not exist, or it belongs to another account.", class_name="muted"),
            rx.el.p(rx.el.a("Begin a new chat", href="/", class_name="button")),
            class_name="column welcome",
        ),
        class_name="scroll",
    )
