"""Reading the settings: from the environment and `.env`, once, with everything that is wrong said in one message."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from collections.abc import Collection, Mapping

from dotenv import dotenv_values

from chatapp.settings import addresses, prices, secrets
from chatapp.settings.model import ModelPrice, Settings, Vendor
from chatapp.settings.variables import Variables

EMULATOR_KEYS = {
    "supabase": "sb_publishable_emulated",
    "polar": "polar_oat_emulated",
    "resend": "re_emulated",
    "valyu": "val_emulated",
    "daytona": "dtn_emulated",
    "llm": "sk-emulated",
}
"""The keys that the emulators accept. A contract test holds them equal to the emulators' own list."""

EMULATED_SEND_EMAIL_HOOK_SECRET = "v1,whsec_ZW11bGF0ZWQtc2VuZC1lbWFpbC1ob29rLXNlY3JldA=="  # noqa: S105 - emulator's
EMULATED_POLAR_WEBHOOK_SECRET = "whsec_ZW11bGF0ZWQtcG9sYXItd2ViaG9vay1zZWNyZXQ="  # noqa: S105 - emulator's
DEVELOPMENT_SECRET_KEY = base64.urlsafe_b64encode(b"a secret for development only...").decode()
EMULATED_MODEL = "emulated-model"
EMULATED_MODEL_PRICE = "2.50/10.00"
DEV_BACKEND_URL = "http://localhost:8000"
"""Where `reflex run` puts the back end when it runs the front end on a port of its own."""


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


class _Reader(Variables):
    """Makes the settings of the variables."""

    def __init__(self, environment: Mapping[str, str], tolerate: Collection[str]) -> None:
        super().__init__(environment, tolerate)
        self._emulators_url = self._url("EMULATORS_URL", "http://localhost:8900")

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

    def _operator_emails(self) -> tuple[str, ...]:
        addresses = [part.strip() for part in self._get("OPERATOR_EMAILS", "").split(",") if part.strip()]
        for address in addresses:
            if address.count("@") != 1 or any(c.isspace() or c in "<>" for c in address):
                self._problem("OPERATOR_EMAILS", f"must be plain addresses with commas between: {address!r} is none")
        return tuple(addresses)

    def _vendor(self, vendor: str, key_name: str, url_name: str, url: str | None, where: str, *,
                prefix: str = "", loopback_allowed: bool = False) -> Vendor:
        key = self._get(key_name, "")
        if not key and not self._production and (vendor != "llm" or not self._get(url_name, "")):
            path = {"valyu": "/valyu/v1", "llm": "/llm/v1", "daytona": "/daytona/api"}.get(vendor, f"/{vendor}")
            return Vendor(EMULATOR_KEYS[vendor], self._emulators_url + path, emulated=True)
        address = self._url(url_name, url or "")
        if not key and not (vendor == "llm" and loopback_allowed and self._get(url_name, "")):
            self._problem(key_name, f"is missing: {where}")
        elif key.isascii() is False or any(c.isspace() for c in key) or not key.startswith(prefix):
            self._problem(key_name, "is malformed" + (f": it begins with {prefix}" if prefix else ""))
        if self._production:
            self._refuse_emulator(key, key_name, address, url_name, loopback_allowed=loopback_allowed)
        return Vendor(key or "none", address, emulated=False)

    def _refuse_emulator(self, key: str, key_name: str, url: str, url_name: str, *, loopback_allowed: bool) -> None:
        if key in EMULATOR_KEYS.values():
            self._problem(key_name, "is an emulator's key, which production never accepts")
        parts, emulators = addresses.parse(url), addresses.parse(self._emulators_url)
        if parts is None:
            return  # said already
        emulated = emulators is not None and addresses.same_server(parts, emulators)
        if loopback_allowed:
            # An operator's own model may be on this machine, even beside something else at the emulators' port.
            refused = emulated and parts.path.lstrip("/").startswith("llm")
        else:
            refused = emulated or addresses.is_local(parts.hostname or "")
            if parts.scheme != "https":
                self._problem(url_name, f"is {url}; it must begin with https:// in production")
        if refused:
            self._problem(url_name, f"is {url}, an address of this machine; production never accepts an emulator")

    def _polar(self) -> Vendor:
        environment = self._get("POLAR_ENVIRONMENT", "production" if self._production else "sandbox")
        if environment not in ("sandbox", "production"):
            self._problem("POLAR_ENVIRONMENT", f"is {environment!r}; write sandbox or production")
        host = "api.polar.sh" if environment == "production" else "sandbox-api.polar.sh"
        return self._vendor("polar", "POLAR_TOKEN", "POLAR_URL", f"https://{host}",
                            "Polar dashboard → Settings → Developers → organization access token", prefix="polar_oat_")

    def _daytona(self) -> Vendor | None:
        if not self._get("DAYTONA_API_KEY", ""):
            return None
        return self._vendor("daytona", "DAYTONA_API_KEY", "DAYTONA_URL", "https://app.daytona.io/api",
                            "Daytona dashboard → API keys")

    def _hook_secret(self) -> str:
        name = "SEND_EMAIL_HOOK_SECRET"
        value = self._secret(name, EMULATED_SEND_EMAIL_HOOK_SECRET, "SUPABASE_KEY",
                             "Supabase dashboard → Authentication → Hooks → Send Email, pointed at "
                             "API_URL/api/hooks/send-email")
        if value and not all(secrets.is_hook_secret(part) for part in secrets.parts(value)):
            self._problem(name, "is malformed: it is v1,whsec_ and base64; several are joined by |")
        return value

    def _webhook_secret(self) -> str:
        name = "POLAR_WEBHOOK_SECRET"
        value = self._secret(name, EMULATED_POLAR_WEBHOOK_SECRET, "POLAR_TOKEN",
                             "Polar dashboard → Settings → Webhooks, an endpoint at API_URL/api/webhooks/polar")
        # Its form is not checked further: Polar signs with the bytes of any text that it calls the secret.
        if any(c.isspace() for c in value):
            self._problem(name, "is malformed: there is a space in it")
        return value

    def _secret(self, name: str, emulated: str, key_name: str, where: str) -> str:
        keyless = not self._production and not self._get(key_name, "")
        value = self._get(name, emulated if keyless else "")
        if not value:
            self._problem(name, f"is missing: {where}")
        elif self._production and any(secrets.same(part, emulated) for part in secrets.parts(value)):
            self._problem(name, "is the emulator's, which production never accepts")
        return value

    def _model(self) -> str:
        keyless = not self._get("OPENAI_API_KEY", "") and not self._get("OPENAI_BASE_URL", "")
        model = self._get("MODEL", EMULATED_MODEL if keyless and not self._production else "")
        if not model:
            self._problem("MODEL", "is missing: the name of the model at your endpoint")
        elif model == EMULATED_MODEL and self._production:
            self._problem("MODEL", f"is {EMULATED_MODEL}, the emulator's, which production never accepts")
        return model

    def _model_prices(self) -> dict[str, ModelPrice]:
        model = self._get("MODEL", EMULATED_MODEL)
        emulated = model == EMULATED_MODEL and not self._production
        text = self._get("MODEL_PRICE", EMULATED_MODEL_PRICE if emulated else "")
        endpoint = addresses.parse(self._get("OPENAI_BASE_URL", ""))
        own = endpoint is not None and endpoint.hostname != "api.openai.com"
        if text == prices.BOOK or (not text and not own):
            return {}
        if not text:
            self._problem("MODEL_PRICE", f"is missing: your own endpoint's price; {prices.HOW}; 0/0 where it costs "
                          f"nothing; {prices.BOOK} where the price book knows the endpoint")
            return {}
        try:
            table = prices.parse(text)
        except prices.Malformed as error:
            self._problem("MODEL_PRICE", f"is {text!r}: it {error}; {prices.HOW}")
            return {}
        if own and model not in table and "" not in table:
            self._problem("MODEL_PRICE", f"has no price for MODEL={model}: it prices {', '.join(table)}")
        return table
