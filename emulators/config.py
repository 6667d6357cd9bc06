"""What the emulators need to know: where they keep their data, where the app is, and the secrets both share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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
    """

    url: str
    app_url: str
    database: Path
    send_email_hook_secret: str
    polar_webhook_secret: str
    keys: dict[str, str]

    @property
    def port(self) -> int:
        """The TCP port in `url`."""
        return int(self.url.rsplit(":", 1)[1])


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
    )
