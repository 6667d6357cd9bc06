"""Addresses of the app's own HTTP routes, as the browser must call them."""

from __future__ import annotations

from reflex.config import get_config


def api(path: str = "") -> str:
    """The address of `path`: relative where page and API share an origin, else absolute."""
    config = get_config()
    base = (config.api_url or "").rstrip("/")
    return path if base == (config.deploy_url or "").rstrip("/") else f"{base}{path}"
