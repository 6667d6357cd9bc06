"""What the emulators need to know: where they keep their data, where the app is, and the secrets both share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PORT = 8900


@dataclass(frozen=True)
class Config:
    """Read once at the start. The defaults are those of chatapp's development mode.

    Attributes:
        url: the address at which the emulators are reached, without a trailing slash.
        app_url: the address of the app's HTTP routes: hooks and webhooks are delivered there.
        database: the SQLite file; it is made on first use.
        send_email_hook_secret: `v1,whsec_…`, with which Supabase signs calls of the Send Email Hook.
        polar_webhook_secret: `whsec_…`, with which Polar signs its webhooks to `app_url`.
        keys: the API key that each vendor accepts, by vendor name; any other is refused as the vendor does.
        site_url: where people see the app, and where Supabase sends browsers back to; `app_url` if it is empty.
        hook_timeout_seconds: how long Supabase waits for the Send Email Hook, all attempts together.
        hook_backoff_seconds: how long it waits after an attempt that reached nobody.
        resend_requests_per_second: Resend's rate limit for a whole team.
    """

    url: str
    app_url: str
    database: Path
    send_email_hook_secret: str
    polar_webhook_secret: str
    keys: dict[str, str]
    site_url: str = ""
    hook_timeout_seconds: float = 5.0
    hook_backoff_seconds: float = 2.0
    resend_requests_per_second: int = 5

    @property
    def port(self) -> int:
        """The TCP port in `url`; the scheme's own where the address names none."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


def from_environment() -> Config:
    """Build the configuration from environment variables, all of which have defaults."""
    get = os.environ.get
    return Config(
        url=(get("EMULATORS_URL") or f"http://localhost:{DEFAULT_PORT}").rstrip("/"),
        app_url=(get("API_URL") or get("PUBLIC_URL") or "http://localhost:3000").rstrip("/"),
        database=Path(get("EMULATORS_DATABASE") or ".data/emulators.db"),
        send_email_hook_secret=get("SEND_EMAIL_HOOK_SECRET") or "v1,whsec_ZW11bGF0ZWQtc2VuZC1lbWFpbC1ob29rLXNlY3JldA==",
        polar_webhook_secret=get("POLAR_WEBHOOK_SECRET") or "whsec_ZW11bGF0ZWQtcG9sYXItd2ViaG9vay1zZWNyZXQ=",
        keys={
            "supabase": "sb_publishable_emulated",
            "supabase_secret": "sb_secret_emulated",
            "polar": "polar_oat_emulated",
            "resend": "re_emulated",
            "valyu": "val_emulated",
            "daytona": "dtn_emulated",
            "llm": "sk-emulated",
        },
        site_url=(get("PUBLIC_URL") or "http://localhost:3000").rstrip("/"),
        resend_requests_per_second=int(get("EMULATED_RESEND_REQUESTS_PER_SECOND") or 5),
    )
