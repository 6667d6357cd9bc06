"""Reading what belongs to the vendors: keys, addresses, secrets, the model; and refusing emulators in production."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from chatapp.settings import addresses, prices, secrets
from chatapp.settings.model import ModelPrice, Vendor
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
EMULATED_MODEL = "emulated-model"
EMULATED_MODEL_PRICE = "2.50/10.00"


class VendorVariables(Variables):
    """The vendors' variables. In development a vendor without a key is emulated."""

    def __init__(self, environment: Mapping[str, str], tolerate: Collection[str]) -> None:
        super().__init__(environment, tolerate)
        self._emulators_url = self._url("EMULATORS_URL", "http://localhost:8900")

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
