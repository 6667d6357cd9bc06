"""The settings: nothing needed in development, everything checked in production."""

import base64
import re
from pathlib import Path

import pytest

from chatapp.settings import EMULATOR_KEYS, AppMode, SettingsError, load
from emulators.config import from_environment

PRODUCTION = {
    "APP_MODE": "production", "PUBLIC_URL": "https://chat.example.com",
    "SECRET_KEY": base64.urlsafe_b64encode(b"x" * 32).decode(),
    "MAIL_FROM": "Chat <mail@chat.example.com>", "SUPABASE_URL": "https://p.supabase.co",
    "SUPABASE_KEY": "sb_publishable_x", "SEND_EMAIL_HOOK_SECRET": "v1,whsec_eA==", "POLAR_TOKEN": "polar_oat_x",
    "POLAR_WEBHOOK_SECRET": "whsec_eA==", "RESEND_API_KEY": "re_x", "VALYU_API_KEY": "val_x",
    "OPENAI_API_KEY": "sk-x", "MODEL": "gpt-5-mini",
}


def test_development_needs_no_variable_and_emulates_every_vendor() -> None:
    settings = load({})
    assert settings.mode is AppMode.DEVELOPMENT
    assert settings.emulated == ("supabase", "polar", "resend", "valyu", "llm")
    assert settings.limits is False
    assert settings.model_price is not None


def test_a_key_turns_its_vendor_real_and_leaves_the_others_emulated() -> None:
    settings = load({"VALYU_API_KEY": "val_mine"})
    assert settings.valyu.url == "https://api.valyu.ai/v1"
    assert "valyu" not in settings.emulated
    assert settings.polar.emulated


def test_production_says_all_that_is_missing_in_one_message() -> None:
    with pytest.raises(SettingsError) as raised:
        load({"APP_MODE": "production"})
    text = str(raised.value)
    for name in PRODUCTION.keys() - {"APP_MODE"}:
        assert name in text, name


def test_a_complete_production_environment_is_accepted() -> None:
    settings = load(PRODUCTION)
    assert settings.emulated == ()
    assert settings.limits is True
    assert settings.secure_cookies
    assert settings.polar.url == "https://api.polar.sh"


@pytest.mark.parametrize(("name", "value"), [
    ("POLAR_URL", "http://localhost:8900/polar"), ("SUPABASE_URL", "http://127.0.0.1:8900/supabase"),
    ("RESEND_API_KEY", EMULATOR_KEYS["resend"]), ("VALYU_API_KEY", EMULATOR_KEYS["valyu"]),
    ("OPENAI_BASE_URL", "http://localhost:8900/llm/v1"), ("PUBLIC_URL", "http://chat.example.com"),
    ("SECRET_KEY", "short"), ("MODEL_PRICE", "cheap"), ("MODEL_PRICE", "-1/2"), ("LIMITS", "maybe"), ("PORT", "web"),
    ("DATABASE_URL", "mysql://x"), ("SUPABASE_URL", "not an address"), ("APP_MODE", "staging"),
    ("POLAR_TOKEN", "oat"), ("RESEND_API_KEY", "with space"), ("MAIL_FROM", "nobody"), ("POLAR_ENVIRONMENT", "live"),
])
def test_production_refuses_an_emulator_or_a_malformed_value_and_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({**PRODUCTION, name: value})


def test_an_own_model_endpoint_needs_a_price_and_may_be_on_this_machine() -> None:
    own = {**PRODUCTION, "OPENAI_BASE_URL": "http://localhost:11434/v1", "OPENAI_API_KEY": ""}
    with pytest.raises(SettingsError, match="MODEL_PRICE"):
        load(own)
    assert load({**own, "MODEL_PRICE": "0/0"}).model_price is not None


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(load({**PRODUCTION, "DATABASE_URL": "postgresql://u:hunter2@h/d"}))
    for secret in ("polar_oat_x", "re_x", "val_x", "sk-x", "hunter2", PRODUCTION["SECRET_KEY"]):
        assert secret not in shown


def test_the_app_and_the_emulators_agree_on_keys_and_secrets() -> None:
    settings, config = load({}), from_environment()
    for vendor, key in EMULATOR_KEYS.items():
        assert config.keys[vendor] == key
    assert settings.send_email_hook_secret == config.send_email_hook_secret
    assert settings.polar_webhook_secret == config.polar_webhook_secret
    assert settings.emulators_url == config.url


def test_env_example_explains_every_variable_that_is_read() -> None:
    root = Path(__file__).parent.parent
    source = (root / "chatapp/settings/environment.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source)) - {"REFLEX_ENV_MODE"}
    explained = set(re.findall(r"^([A-Z_]+)=", (root / ".env.example").read_text(), re.M))
    assert read <= explained, read - explained
