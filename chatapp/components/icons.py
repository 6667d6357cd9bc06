"""The few icons, as inline SVG paths on a 24×24 grid: no icon font, no library."""

from __future__ import annotations

import reflex as rx

PATHS = {
    "menu": "M4 7h16M4 12h16M4 17h16",
    "person": "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-8 8c1.2-3.4 4.2-5 8-5s6.8 1.6 8 5",
    "plus": "M12 5v14M5 12h14",
    "send": "M12 19V5M6 11l6-6 6 6",
    "stop": "M8 8h8v8H8z",
    "close": "M6 6l12 12M18 6L6 18",
}


def icon(name: str) -> rx.Component:
    """An icon that says nothing by itself: the button around it carries the label."""
    return rx.el.svg(rx.el.path(d=PATHS[name]), view_box="0 0 24 24", custom_attrs={"aria-hidden": "true"})
