"""The frame of all console pages: one style sheet, one navigation, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from emulators.console.style import STYLE

_PAGES = (("/", "Overview"), ("/console/mail", "Mail"), ("/console/polar", "Polar"), ("/console/faults", "Faults"))

_HEADERS = {
    # Mail is shown in frames that inherit this: their pictures and styles load, their scripts do not.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src * data:; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_FRAME = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title} · Emulators</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<div class="bar">
<strong>Emulators</strong>
<nav aria-label="Console"><ul>{links}</ul></nav>
</div>
</header>
<main id="main">
<h1>{title}</h1>
{body}
</main>
</body>
</html>
""")


def page(title: str, *sections: Markup, here: str, status: int = 200) -> HTMLResponse:
    """A whole page. `here` is the navigation's entry that it belongs to."""
    links = Markup("").join(
        Markup('<li><a href="{}"{}>{}</a></li>').format(
            path, Markup(' aria-current="page"') if path == here else "", name
        )
        for path, name in _PAGES
    )
    body = Markup("\n").join(sections)
    text = _FRAME.format(title=title, style=Markup(STYLE), links=links, body=body)
    return HTMLResponse(text, status, _HEADERS)


def section(title: str, *parts: Markup) -> Markup:
    """A titled part of a page."""
    return Markup("<section><h2>{}</h2>\n{}</section>").format(title, Markup("\n").join(parts))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> Markup:
    """A table that scrolls sideways by itself on narrow screens; `empty` is said when there are no rows."""
    lines = [Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in rows]
    if not lines:
        return note(empty)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(column) for column in columns)
    return Markup(
        '<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>'
        "<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    ).format(caption=caption, head=head, rows=Markup("").join(lines))


def note(text: str) -> Markup:
    """A quiet remark."""
    return Markup('<p class="quiet">{}</p>').format(text)


def button(label: str, action: str, *, fields: dict[str, object] | None = None, pressed: bool | None = None) -> Markup:
    """A form of one button. `pressed` makes it a switch."""
    hidden = Markup("").join(
        Markup('<input type="hidden" name="{}" value="{}">').format(name, value)
        for name, value in (fields or {}).items()
    )
    state = "" if pressed is None else Markup(' aria-pressed="{}"').format("true" if pressed else "false")
    return Markup('<form method="post" action="{}">{}<button{}>{}</button></form>').format(action, hidden, state, label)


def tag(text: object, kind: str = "") -> Markup:
    """A word in a coloured box; kinds: good, bad, or none."""
    return Markup('<span class="tag {}">{}</span>').format(kind, text)


def code(text: object) -> Markup:
    """An identifier or address."""
    return Markup("<code>{}</code>").format(text)


def when(iso: str | None) -> Markup:
    """A time of the emulated clock, to the second, in UTC."""
    if not iso:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(iso, iso[:19].replace("T", " "))


def _cell(value: object) -> Markup:
    return Markup("<td>{}</td>").format(value if isinstance(value, Markup) else escape(value))
