"""What the settings are: frozen values, one per installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from urllib.parse import urlsplit


class AppMode(StrEnum):
    """How the app is run: on a developer's laptop, or for customers."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True)
class Vendor:
    """One vendor's access.

    Attributes:
        key: the API key; never shown in a repr.
        url: base address as the vendor's SDK takes it, without a trailing slash.
        emulated: whether the address is our emulator's.
    """

    key: str = field(repr=False)
    url: str
    emulated: bool


@dataclass(frozen=True)
class ModelPrice:
    """An operator's price for their own model endpoint, in US dollars.

    Attributes:
        cache_read_usd_per_million: of input that was read from a cache; None for the input's price, as in the others.
        cache_write_1h_usd_per_million: of input written to a cache for an hour; None for the other cache writes' price.
        reasoning_usd_per_million: None where thinking costs what other output does.
        request_usd: for each request, beside its tokens; None for nothing.
    """

    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    cache_read_usd_per_million: Decimal | None = None
    cache_write_usd_per_million: Decimal | None = None
    cache_write_1h_usd_per_million: Decimal | None = None
    reasoning_usd_per_million: Decimal | None = None
    request_usd: Decimal | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that differs between one installation and another. See `.env.example` for each variable.

    Attributes:
        public_url: the address that people open, without a trailing slash.
        api_url: the address of the app's own HTTP routes and websocket; equal to `public_url` on one origin.
        limits: whether quotas and spend limits are enforced.
        listen_host: the IP address to listen on.
        trusted_proxies: how many reverse proxies stand in front and append to X-Forwarded-For.
        daytona: None where code runs in the built-in sandbox.
        model_price: of every model that `model_prices` does not name; None where it comes from the price book.
        model_prices: the operator's price table, by the model's name.
        operator_emails: who is told when the books do not agree.
        spend_limit_usd: what a pay-per-use customer may be charged per period until they choose a limit themselves;
            None for the plan's own.
        spend_limit_max_usd: the most that they may begin with or choose; one that was chosen before stays.
    """

    mode: AppMode
    public_url: str
    api_url: str
    database_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    limits: bool
    mail_from: str
    supabase: Vendor
    send_email_hook_secret: str = field(repr=False)
    polar: Vendor
    polar_webhook_secret: str = field(repr=False)
    resend: Vendor
    valyu: Vendor
    daytona: Vendor | None
    llm: Vendor
    model: str
    model_price: ModelPrice | None
    valyu_signup_url: str
    emulators_url: str
    listen_host: str = "127.0.0.1"
    listen_port: int | None = None
    trusted_proxies: int = 0
    model_prices: Mapping[str, ModelPrice] = field(default_factory=dict)
    operator_emails: tuple[str, ...] = ()
    spend_limit_usd: Decimal | None = None
    spend_limit_max_usd: Decimal = Decimal(1000)

    @property
    def port(self) -> int:
        """The port to listen on: PORT, or the one in `public_url` where it names one, or 3000."""
        return self.listen_port or urlsplit(self.public_url).port or 3000

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies get `Secure` and the `__Host-` prefix: everywhere but on plain http://localhost."""
        return self.api_url.startswith("https://")

    @property
    def emulated(self) -> tuple[str, ...]:
        """The vendors that are emulated, by name."""
        vendors = {"supabase": self.supabase, "polar": self.polar, "resend": self.resend, "valyu": self.valyu,
                   "daytona": self.daytona, "llm": self.llm}
        return tuple(name for name, vendor in vendors.items() if vendor is not None and vendor.emulated)
