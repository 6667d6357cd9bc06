"""The inbox: every mail that the app handed to Resend."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from emulators import resend
from emulators.console.layout import note, page, section, when
from emulators.resend import Mail

if TYPE_CHECKING:
    from emulators.world import World

HERE = "/console/mail"
_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
_BASE = '<base target="_top">'


def inbox(world: World, request: Request) -> Response:
    """All mail, newest first; `?to=` narrows it to one address."""
    to = request.query_params.get("to", "").strip()
    mails = resend.inbox(world, to=to)
    search = Markup(
        '<form class="card fields" method="get"><label>Recipient'
        '<input name="to" type="search" value="{}" placeholder="name@example.com" autocomplete="off"></label>'
        "<button>Show</button></form>"
    ).format(to)
    items = Markup("").join(map(_item, mails))
    listed = Markup('<ul class="list">{}</ul>').format(items) if mails else note("No mail.")
    return page("Mail", search, listed, here=HERE)


def one(world: World, request: Request) -> Response:
    """One mail: headers, the HTML part in a frame without scripts, the text part."""
    mail = resend.find(world, request.path_params["mail_id"])
    if mail is None:
        return page("No such mail", note("It is not in the inbox."), here=HERE, status=404)
    frame = Markup(
        '<iframe title="HTML part" srcdoc="{}" sandbox="allow-popups allow-top-navigation-by-user-activation"></iframe>'
    )
    html = frame.format(_opening_links_on_top(mail.html)) if mail.html else note("This mail has no HTML part.")
    text = Markup('<div class="card"><pre>{}</pre></div>').format(mail.text) if mail.text else note("None.")
    return page(mail.subject, _headers(mail), section("HTML", html), section("Text", text), here=HERE)


def _item(mail: Mail) -> Markup:
    return Markup(
        '<li><a href="/console/mail/{id}"><strong>{subject}</strong>'
        '<span class="meta"><span>to {to}</span><span>{at}</span></span></a></li>'
    ).format(id=mail.id, subject=mail.subject, to=", ".join(mail.to), at=when(mail.created_at))


def _headers(mail: Mail) -> Markup:
    shown: list[tuple[str, object]] = [("From", mail.sender), ("To", ", ".join(mail.to))]
    for name, addresses in (("Cc", mail.cc), ("Bcc", mail.bcc), ("Reply-To", mail.reply_to)):
        if addresses:
            shown.append((name, ", ".join(addresses)))
    shown.append(("Date", when(mail.created_at)))
    shown.extend(mail.headers.items())
    if mail.tags:
        shown.append(("Tags", ", ".join(f"{tag['name']}={tag['value']}" for tag in mail.tags)))
    pairs = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in shown)
    return Markup('<section><dl class="card">{}</dl></section>').format(pairs)


def _opening_links_on_top(html: str) -> str:
    """Make links leave the frame: the console gives way to the app, as a mail program would."""
    head = _HEAD.search(html)
    at = head.end() if head else 0
    return html[:at] + _BASE + html[at:]
