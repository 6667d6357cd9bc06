"""What the browser does by itself and Reflex would rather do for it: forms that submit, modal dialogs, scrolling."""

from __future__ import annotations

from typing import Any

import reflex as rx
from reflex_components_core.el.elements.base import BaseHTML

_MODULE = rx.asset("native.jsx", shared=True)


class NativeForm(BaseHTML):  # type: ignore[misc]  # the package ships no types
    """A `<form>` that the browser submits itself, for routes that set cookies; `rx.el.form` prevents that always."""

    tag = "form"
    action: rx.Var[str]
    method: rx.Var[str]


class _Local(rx.Component):
    library = f"$/public{_MODULE}"


class Modal(_Local):
    """A modal dialog.

    Attributes:
        open: whether it is shown.
        label: its accessible name.
        on_close: it was closed by Escape, by a click beside it, or by the browser.
    """

    tag = "Modal"
    open: rx.Var[bool]
    label: rx.Var[str]
    on_close: rx.EventHandler[  # type: ignore[type-arg]  # Reflex reads the event's arguments from here
        rx.event.no_args_event_spec  # type: ignore[valid-type]  # the same
    ]


class Example(_Local):
    """A button that puts `text` into the field with the id `target`."""

    tag = "Example"
    target: rx.Var[str]
    text: rx.Var[str]


class AskForm(_Local):
    """The question's form: one for people with a session and without, so that the field is never made anew.

    Attributes:
        connected: the page's state is there and there is a session: `on_ask` gets the fields.
        native: until then, submit natively to `action` instead of not at all.
    """

    tag = "AskForm"
    connected: rx.Var[bool]
    native: rx.Var[bool]
    action: rx.Var[str]
    on_ask: rx.EventHandler[  # type: ignore[type-arg]  # Reflex reads the event's arguments from here
        rx.event.passthrough_event_spec(dict[str, Any])  # type: ignore[valid-type]  # the same
    ]


class FormStart(_Local):
    """Nothing to see: it prepares the form around it.

    Attributes:
        ready: the page's state is there.
        email: put into the field `email`, unless something stands there already.
        name: the same for the field `name`.
        field: the name of the field that has to be corrected, which gets the focus; else the first empty one does.
    """

    tag = "FormStart"
    ready: rx.Var[bool]
    email: rx.Var[str]
    name: rx.Var[str]
    field: rx.Var[str]


class Skip(_Local):
    """The link for keyboards that leads past everything else: to the id `target`, or to `fallback` without it."""

    tag = "Skip"
    target: rx.Var[str]
    fallback: rx.Var[str]


class Drawer(_Local):
    """A `<nav>` that is a popover on narrow screens; following one of its links closes it."""

    tag = "Drawer"
    label: rx.Var[str]


class Follow(_Local):
    """A scrolling box that keeps its end in view while it grows, and goes there whenever `watch` changes."""

    tag = "Follow"
    watch: rx.Var[Any]


def post_form(*children: rx.Component | str, action: str, **props: Any) -> rx.Component:  # noqa: ANN401 - element props
    """A native POST form to a route of the app's own API."""
    return NativeForm.create(*children, action=action, method="post", **props)
