"""What a page that was reached by a redirect tells: the code in its address, as text."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import reflex as rx

from chatapp.accounts import cookies
from chatapp.accounts.texts import TEXTS as ACCOUNT_TEXTS
from chatapp.accounts.texts import wait_text
from chatapp.billing.texts import TEXTS as BILLING_TEXTS
from chatapp.state.plan import PlanDialog
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer

TEXTS = {**ACCOUNT_TEXTS, **BILLING_TEXTS}
FIELDS = {
    "email_invalid": "email", "email_refused": "email",
    **dict.fromkeys(("password_missing", "password_short", "password_long", "password_common", "weak_password",
                     "same_password"), "password"),
}
"""Which field an error is about, where it is about one."""


class Notices(rx.State):
    """The page's message, and what it needs from its address. All of it is the browser's word and proves nothing."""

    error: str = ""
    field: str = ""
    notice: str = ""
    token_hash: str = ""
    link_type: str = ""
    step: str = ""
    purpose: str = ""
    email: str = ""
    name: str = ""
    next: str = "/"

    @rx.event
    async def read(self) -> None:
        """The page was opened."""
        query = self.router.url.query_parameters
        wait = query.get("wait", "")
        code = query.get("error", "")
        self.error, self.field = _text(code, wait), FIELDS.get(code, "")
        self.notice = _text(query.get("notice", ""), wait)
        self.token_hash = query.get("token_hash", "")[:200]
        self.link_type = query.get("type", "email")[:30]
        self.step, self.purpose = query.get("step", "")[:20], query.get("for", "signup")[:20]
        typed = cookies.find(self.router.headers.raw_headers.get("cookie"), cookies.full_name(
            runtime().services.settings, cookies.FORM))
        form = dict(parse_qsl(unquote(typed or "")[:3000]))
        self.email, self.name = form.get("email", "")[:254], form.get("name", "")[:254]
        self.next = query.get("next", "/")[:300]
        (await self.get_state(PlanDialog)).reset()
        await (await self.get_state(Viewer))._load()


def _text(code: str, wait: str) -> str:
    """The text of a code; an unknown code is not shown, since anybody can write an address."""
    text = TEXTS.get(code, "")
    seconds = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else 0
    return text.replace("{wait}", wait_text(seconds) if seconds else "a moment") if text else ""
