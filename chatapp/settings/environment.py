"""Reading the settings: from the environment and `.env`, once, with everything that is wrong said in one message."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Collection, Mapping
from decimal import Decimal

from dotenv import dotenv_values

from chatapp.settings import addresses
from chatapp.settings.model import Settings
from chatapp.settings.vendors import VendorVariables

DEVELOPMENT_SECRET_KEY = base64.urlsafe_b64encode(b"a secret for development only...").decode()
DEV_BACKEND_URL = "http://localhost:8000"
"""Where `reflex run` puts the back end when it runs the front end on a port of its own."""


_DOLLARS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,2})?", re.ASCII)


class SettingsError(Exception):
    """Something in the environment is missing or malformed; the message lists all of it, with the remedy."""


def load(environment: Mapping[str, str] | None = None, *, tolerate: Collection[str] = ()) -> Settings:
    """Read the settings from the environment over `.env`, or from the mapping given.

    Args:
        environment: instead of the process's own and `.env`.
        tolerate: variables that may be missing or malformed, for a command that has no use for them.

    Raises:
        SettingsError: with every missing or malformed variable at once.
    """
    if environment is None:
        file = {key: value for key, value in dotenv_values(".env").items() if value is not None}
        environment = {**file, **os.environ}
    return _Reader(environment, tolerate).settings()


class _Reader(VendorVariables):
    """Makes the settings of the variables."""

    def settings(self) -> Settings:
        public_url, model_prices = self._public_url(), self._model_prices()
        settings = Settings(
            mode=self._mode,
            public_url=public_url,
            api_url=self._api_url(public_url),
            database_url=self._database_url(),
            secret_key=self._secret_key(),
            limits=self._flag("LIMITS", default=self._production),
            mail_from=self._mail_from(), operator_emails=self._operator_emails(),
            supabase=self._vendor("supabase", "SUPABASE_KEY", "SUPABASE_URL", None,
                                  "Supabase dashboard → Settings → API keys → publishable key, and the project's URL"),
            send_email_hook_secret=self._hook_secret(),
            polar=self._polar(),
            polar_webhook_secret=self._webhook_secret(),
            resend=self._vendor("resend", "RESEND_API_KEY", "RESEND_URL", "https://api.resend.com",
                                "Resend dashboard → API keys", prefix="re_"),
            valyu=self._vendor("valyu", "VALYU_API_KEY", "VALYU_URL", "https://api.valyu.ai/v1",
                               "Valyu platform → API keys"),
            daytona=self._daytona(),
            llm=self._vendor("llm", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1",
                             "the key of your OpenAI-compatible endpoint; set OPENAI_BASE_URL unless it is OpenAI's",
                             loopback_allowed=True),
            model=self._model(),
            model_price=model_prices.pop("", None),
            valyu_signup_url=self._url("VALYU_SIGNUP_URL", "https://platform.valyu.ai"),
            emulators_url=self._emulators_url,
            listen_host=self._host(),
            listen_port=self._port(),
            trusted_proxies=self._proxies(),
            model_prices=model_prices,
            spend_limit_usd=self._dollars("SPEND_LIMIT_USD"),
            spend_limit_max_usd=self._dollars("SPEND_LIMIT_MAX_USD", least=1) or Settings.spend_limit_max_usd,
        )
        if self._problems:
            lines = "\n".join(f"  - {problem}" for problem in self._problems)
            raise SettingsError(
                f"chatapp cannot start in {self._mode} mode. Mend these settings (environment or .env; "
                f".env.example explains each):\n{lines}"
            )
        return settings

    def _host(self) -> str:
        value = self._get("LISTEN_HOST", "127.0.0.1")
        try:
            ipaddress.ip_address(value)
        except ValueError:
            self._problem("LISTEN_HOST", f"is {value!r}; write an IP address: 127.0.0.1, or 0.0.0.0 in a container")
        return value

    def _port(self) -> int | None:
        # An origin does not show http's own port, so it is asked for here.
        own = addresses.parse(self._get("PUBLIC_URL", ""))
        value = self._get("PORT", "80" if own is not None and (own.scheme, own.port) == ("http", 80) else "")
        if value and not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            self._problem("PORT", f"is {value!r}; write a number from 1 to 65535, or leave it out")
            return None
        return int(value) if value else None

    def _proxies(self) -> int:
        value = self._get("TRUSTED_PROXIES", "0")
        if not (value.isascii() and value.isdigit() and int(value) < 10):
            self._problem("TRUSTED_PROXIES", f"is {value!r}; write how many reverse proxies stand in front, 0 for none")
            return 0
        return int(value)

    def _public_url(self) -> str:
        return self._origin("PUBLIC_URL", "" if self._production else "http://localhost:3000")

    def _api_url(self, public_url: str) -> str:
        split = self._environment.get("REFLEX_ENV_MODE") == "dev" and not self._production
        return self._origin("API_URL", DEV_BACKEND_URL if split else public_url or "https://unset.invalid")

    def _database_url(self) -> str:
        url = self._get("DATABASE_URL", "sqlite:///.data/chatapp.db")
        if url.startswith(("postgres://", "postgresql://")):
            url = "postgresql+psycopg://" + url.split("://", 1)[1]
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            self._problem("DATABASE_URL", "must be sqlite:///path or postgresql://user:password@host/name")
        return url

    def _secret_key(self) -> str:
        value = self._get("SECRET_KEY", "" if self._production else DEVELOPMENT_SECRET_KEY)
        try:
            right = len(base64.urlsafe_b64decode(value)) == 32
        except (binascii.Error, ValueError):
            right = False
        if not right or (self._production and value == DEVELOPMENT_SECRET_KEY):
            self._problem("SECRET_KEY", "must be 32 random bytes in URL-safe base64; make one with: python -c "
                          "'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'")
        return value

    def _mail_from(self) -> str:
        value = self._get("MAIL_FROM", "" if self._production else "chatapp <hello@chatapp.example>")
        if "@" not in value:
            self._problem("MAIL_FROM", "must be a sender whose domain is verified at Resend: Name <mail@your.domain>")
        return value

    def _dollars(self, name: str, *, least: int = 0) -> Decimal | None:
        value = self._get(name, "")
        if not value:
            return None
        amount = Decimal(value) if _DOLLARS.fullmatch(value) else Decimal(0)
        if not amount or amount < least:
            self._problem(name, f"is {value!r}; write dollars such as 50 or 49.50, or leave it out")
        return amount

    def _operator_emails(self) -> tuple[str, ...]:
        addresses = [part.strip() for part in self._get("OPERATOR_EMAILS", "").split(",") if part.strip()]
        for address in addresses:
            if address.count("@") != 1 or any(c.isspace() or c in "<>" for c in address):
                self._problem("OPERATOR_EMAILS", f"must be plain addresses with commas between: {address!r} is none")
        return tuple(addresses)
