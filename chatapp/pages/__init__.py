"""The pages: what each address shows, and what happens when it is opened."""

from __future__ import annotations

import reflex as rx

from chatapp.components.frame import BRAND
from chatapp.pages import chat, checkout, sign_in
from chatapp.state.chat import Chat
from chatapp.state.checkout import CheckoutResult
from chatapp.state.notices import Notices


def add_to(app: rx.App) -> None:
    """Add every page to the app."""
    app.add_page(chat.new_chat, route="/", title=BRAND, on_load=Chat.start)
    app.add_page(chat.open_chat, route="/chat/[thread_id]", title=BRAND, on_load=Chat.open)
    for page, route, title in (
        (sign_in.sign_in, "/sign-in", "Sign in"),
        (sign_in.sign_up, "/sign-up", "Sign up"),
        (sign_in.check_mail, "/check-mail", "Check your mail"),
        (sign_in.confirm, "/auth/confirm", "Confirm"),
        (sign_in.new_password, "/new-password", "New password"),
        (checkout.cancelled, "/checkout/cancelled", "Nothing was paid"),
    ):
        app.add_page(page, route=route, title=f"{title} · {BRAND}", on_load=Notices.read)
    app.add_page(checkout.success, route="/checkout/success", title=f"Thank you · {BRAND}",
                 on_load=[Notices.read, CheckoutResult.wait])
