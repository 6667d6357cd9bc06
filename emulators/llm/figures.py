"""How the emulated model draws: it reads in the tool's description which way of making a figure there is."""

from __future__ import annotations

from enum import Enum


class Drawing(Enum):
    """The ways of making a figure that a code tool may offer."""

    CALL = "chart("
    PYPLOT = "matplotlib"
    NONE = ""


def offered(description: str) -> Drawing:
    """The way that the description of a code tool tells of; a `chart(…)` function is preferred."""
    if "chart(" in description:
        return Drawing.CALL
    return Drawing.PYPLOT if "matplotlib" in description.lower() else Drawing.NONE


def draw(drawing: Drawing, kind: str, x: str, series: dict[str, str], titles: tuple[str, str, str]) -> str:
    """Python lines that draw `series` (name to expression) over the expression `x`.

    Args:
        drawing: how.
        kind: line, bar, scatter or pie.
        x: a Python expression.
        series: a Python expression for each name.
        titles: of the figure, the x axis and the y axis.
    """
    title, x_title, y_title = titles
    if drawing is Drawing.CALL:
        if kind == "pie":
            values = next(iter(series.values()))
        else:
            values = "{" + ", ".join(f"{name!r}: {values}" for name, values in series.items()) + "}"
        return f"chart({kind!r}, {x}, {values}, title={title!r}, x_title={x_title!r}, y_title={y_title!r})\n"
    if drawing is Drawing.PYPLOT:
        lines = ["import matplotlib.pyplot as plt", "plt.figure(figsize=(8, 5))"]
        for name, values in series.items():
            lines.append(_PYPLOT[kind].format(x=x, y=values, name=repr(name)))
        if len(series) > 1:
            lines.append("plt.legend()")
        lines += [f"plt.title({title!r})", f"plt.xlabel({x_title!r})", f"plt.ylabel({y_title!r})", "plt.show()"]
        return "\n".join(lines) + "\n"
    return ""


_PYPLOT = {
    "line": "plt.plot({x}, {y}, label={name})",
    "bar": "plt.bar({x}, {y}, label={name})",
    "scatter": "plt.scatter({x}, {y}, label={name})",
    "pie": "plt.pie({y}, labels={x})",
}
