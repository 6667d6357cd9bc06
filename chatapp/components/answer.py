"""One answer in the browser, streamed or finished: text, steps, figures, sources, price.

Markdown, safety, streaming and drawing are in the .js and .jsx files beside this one; docs/decisions/0002-markdown.md
says why. The component is memoized by value: a page may give equal lists anew without anything being rendered again.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import reflex as rx
from reflex.event import EventType

Status: TypeAlias = Literal["streaming", "done", "stopped", "interrupted", "failed"]

_FILES = (
    "answer_blocks.js", "answer_chart.jsx", "answer_code.jsx", "answer_highlight.js", "answer_lazy.jsx",
    "answer_markdown.jsx", "answer_math.js", "answer_sources.jsx", "answer_steps.jsx", "answer_stream.js",
    "answer_text.js", "answer.css",
)  # fmt: skip
for _file in _FILES:
    rx.asset(_file, shared=True)
_MAIN = rx.asset("answer.jsx", shared=True)


def _ended(message_id: rx.Var[str], status: rx.Var[str]) -> tuple[rx.Var[str], rx.Var[str]]:
    """What the browser passes to `on_done`."""
    return message_id, status


class Answer(rx.Component):
    """The React component. Pages use `answer()`.

    Attributes:
        parts: what the answer consists of, in order; each a dict with `type` text, search or code.
        sources: dicts of number, title, url, snippet; `[3]` in the text becomes a link to number 3.
        status: one of `Status`. Ignored while `src` is set: then the stream says it.
        error: why it failed, for people to read; shown with the status `failed`.
        price: as shown, such as "$0.0042"; empty for none.
        price_note: what is to be said about the price, such as "included in Free".
        src: address of the event stream of an answer that is being written; empty for a finished one.
            While it is set, parts and sources are shown only until the stream's first event.
        message_id: tells apart the answers that one component shows one after another.
        api_url: put before the figures' addresses, where the routes are on another origin; without a slash at the end.
        on_done: called once when the stream says that the answer has ended, with the message id and the status.
            Both come from the browser: look the message up before acting on it.
    """

    library = _MAIN.importable_path
    tag = "Answer"
    lib_dependencies: list[str] = [  # noqa: RUF012  # Reflex makes a field of it; every instance gets a copy
        "marked@18.2.1",
        "katex@0.19.1",
        "lowlight@3.3.0",
        "highlight.js@11.12.0",
        "recharts@3.10.1",
    ]

    parts: rx.Var[list[dict[str, Any]]]
    sources: rx.Var[list[dict[str, Any]]]
    status: rx.Var[str]
    error: rx.Var[str]
    price: rx.Var[str]
    price_note: rx.Var[str]
    src: rx.Var[str]
    message_id: rx.Var[str]
    api_url: rx.Var[str]
    on_done: rx.EventHandler[_ended]  # type: ignore[type-arg,valid-type]  # Reflex reads the event's arguments from here


def answer(
    *,
    message_id: rx.Var[str] | str,
    parts: rx.Var[list[dict[str, Any]]] | list[dict[str, Any]],
    sources: rx.Var[list[dict[str, Any]]] | list[dict[str, Any]],
    status: rx.Var[str] | Status = "done",
    error: rx.Var[str] | str = "",
    price: rx.Var[str] | str = "",
    price_note: rx.Var[str] | str = "",
    src: rx.Var[str] | str = "",
    api_url: rx.Var[str] | str = "",
    on_done: EventType[str, str] | None = None,
    key: rx.Var[str] | str | None = None,
) -> rx.Component:
    """Show one answer; see `Answer` for what each argument means.

    Args:
        message_id: the message's id; also the key unless `key` is given.
        parts: the saved parts; may be empty while `src` is set.
        sources: the saved sources.
        status: how the saved answer ended.
        error: why it failed.
        price: as shown to the customer.
        price_note: said beside the price.
        src: the event stream to follow, or empty.
        api_url: origin of the figures' routes, or empty for the page's own.
        on_done: the event handler `(message_id: str, status: str)`.
        key: React's key in a list.

    Returns:
        The component, ready for a page or a foreach.
    """
    props: dict[str, Any] = {} if on_done is None else {"on_done": on_done}
    return Answer.create(
        parts=parts, sources=sources, status=status, error=error, price=price, price_note=price_note, src=src,
        message_id=message_id, api_url=api_url, key=message_id if key is None else key, **props,
    )  # fmt: skip
