"""The pages, one module per route. Importing this registers them all."""

from chatapp.pages import chat, checkout, sign_in

__all__ = ["chat", "checkout", "sign_in"]
