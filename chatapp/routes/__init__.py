"""Starlette routes: auth, webhooks, the answer stream, billing, health."""
