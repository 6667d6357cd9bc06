"""The pages: what each address shows, and what happens when it is opened."""

from __future__ import annotations

import reflex as rx

from chatapp.components import connection
from chatapp.components.frame import BRAND
from chatapp.pages import chat, checkout, missing, sign_in
from chatapp.state.chat import Chat
from chatapp.state.checkout import CheckoutResult
from chatapp.state.notices import Notices

ICON = "/favicon.svg"


def add_to(app: rx.App) -> None:
    """Add every page to the app, and what all pages have."""
    app.head_components.append(rx.el.link(rel="icon", href=ICON, type="image/svg+xml"))
    app.app_wraps[5, "Overlay"] = connection.overlay
    app.add_page(chat.new_chat, route="/", title=BRAND, image=ICON, on_load=Chat.start,
                 description="Ask, and get an answer with its sources and its price.")
    title = rx.cond(Chat.title != "", f"{Chat.title} · {BRAND}", BRAND)
    app.add_page(chat.open_chat, route="/chat/[thread_id]", image=ICON, on_load=Chat.open,
                 title=rx.cond(Chat.missing, f"Not found · {BRAND}", title))
    app.add_page(missing.missing, route="404", title=f"Not found · {BRAND}", image=ICON,
                 description="There is no page at this address.")
    for page, route, title in (
        (sign_in.sign_in, "/sign-in", "Sign in"),
        (sign_in.sign_up, "/sign-up", "Sign up"),
        (sign_in.check_mail, "/check-mail", "Check your mail"),
        (sign_in.confirm, "/auth/confirm", "Confirm"),
        (sign_in.new_password, "/new-password", "New password"),
        (checkout.cancelled, "/checkout/cancelled", "Nothing was paid"),
    ):
        app.add_page(page, route=route, title=f"{title} · {BRAND}", image=ICON, on_load=Notices.read)
    app.add_page(checkout.success, route="/checkout/success", title=f"Thank you · {BRAND}", image=ICON,
                 on_load=[Notices.read, CheckoutResult.wait])
