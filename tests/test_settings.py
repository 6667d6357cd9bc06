"""The settings: nothing needed in development, everything checked in production."""

import base64
import re
from decimal import Decimal
from pathlib import Path

import pytest

from chatapp.settings import EMULATED_MODEL, EMULATOR_KEYS, AppMode, SettingsError, load
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
    ("POLAR_TOKEN", "oat"), ("RESEND_API_KEY", "with space"), ("MAIL_FROM", "nobody"),
    ("POLAR_ENVIRONMENT", "live"), ("OPERATOR_EMAILS", "a@b.c, Ann <ann@b.c>"),
])
def test_production_refuses_an_emulator_or_a_malformed_value_and_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({**PRODUCTION, name: value})


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.9.9.9", "127.1", "2130706433", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST", "localhost.", "polar.localhost",
])
@pytest.mark.parametrize("name", ["POLAR_URL", "SUPABASE_URL", "RESEND_URL", "VALYU_URL", "DAYTONA_URL"])
def test_no_vendor_is_on_this_machine_in_production_however_that_is_spelled(name: str, host: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*an address of this machine"):
        load({**PRODUCTION, "DAYTONA_API_KEY": "dtn_x", name: f"https://{host}:8443/x"})


@pytest.mark.parametrize("name", ["POLAR_URL", "SUPABASE_URL", "RESEND_URL", "VALYU_URL", "DAYTONA_URL"])
def test_a_vendors_address_begins_with_https_in_production(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} .* must begin with https://"):
        load({**PRODUCTION, "DAYTONA_API_KEY": "dtn_x", name: "http://vendor.example.com"})
    load({**PRODUCTION, "DAYTONA_API_KEY": "dtn_x", name: "https://vendor.example.com"})


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:8900/llm/v1", "http://[::1]:8900/llm/v1", "http://0.0.0.0:8900//llm/v1",
    "http://a.localhost:8900/llm",
])
def test_production_refuses_the_emulated_model_at_any_spelling_of_its_address(url: str) -> None:
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        load({**PRODUCTION, "MODEL_PRICE": "0/0", "OPENAI_BASE_URL": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8900/v1", "http://10.0.0.7:8900/llm/v1", "http://[::1]:11434/v1"])
def test_production_accepts_a_model_of_the_operators_own(url: str) -> None:
    assert load({**PRODUCTION, "MODEL_PRICE": "0/0", "OPENAI_BASE_URL": url}).llm.url == url


@pytest.mark.parametrize(("name", "value"), [
    ("MODEL", EMULATED_MODEL),
    ("SEND_EMAIL_HOOK_SECRET", f"v1,whsec_eA==|{load({}).send_email_hook_secret}"),
    ("POLAR_WEBHOOK_SECRET", load({}).polar_webhook_secret),
])
def test_production_refuses_the_emulators_model_and_secrets_even_beside_others(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*production never accepts"):
        load({**PRODUCTION, name: value})


@pytest.mark.parametrize("value", ["v1,whsec_", "v1,whsec_x", "v1,whsec_a b=", "v1,whsec_-_-_", "whsec_eA==",
                                   "v1,whsec_eA==|", "v1,whsec_eA==|nonsense"])
@pytest.mark.parametrize("environment", [PRODUCTION, {}])
def test_a_hook_secret_that_could_verify_nothing_is_refused_in_both_modes(
    environment: dict[str, str], value: str
) -> None:
    with pytest.raises(SettingsError, match="SEND_EMAIL_HOOK_SECRET is malformed: it is v1,whsec_ and base64"):
        load({**environment, "SEND_EMAIL_HOOK_SECRET": value})


@pytest.mark.parametrize("value", ["v1,whsec_eA==", "v1,whsec_eA", "v1,whsec_eA== | v1,whsec_eQ=="])
def test_hook_secrets_with_base64_are_accepted_alone_and_together(value: str) -> None:
    assert load({**PRODUCTION, "SEND_EMAIL_HOOK_SECRET": value}).send_email_hook_secret == value


def test_polars_secret_is_any_text_without_spaces() -> None:
    for value in ("whsec_not-base64!", "a-plain-text"):
        assert load({**PRODUCTION, "POLAR_WEBHOOK_SECRET": value}).polar_webhook_secret == value
    for environment in (PRODUCTION, {}):
        with pytest.raises(SettingsError, match="POLAR_WEBHOOK_SECRET is malformed"):
            load({**environment, "POLAR_WEBHOOK_SECRET": "whsec_with space"})


def test_what_a_command_has_no_use_for_may_be_missing() -> None:
    without = {key: value for key, value in PRODUCTION.items() if key not in ("POLAR_WEBHOOK_SECRET", "MODEL")}
    with pytest.raises(SettingsError) as raised:
        load(without, tolerate=("POLAR_WEBHOOK_SECRET",))
    assert "MODEL is missing" in str(raised.value)
    assert "POLAR_WEBHOOK_SECRET" not in str(raised.value)
    assert load({**without, "MODEL": "m"}, tolerate=("POLAR_WEBHOOK_SECRET",)).polar_webhook_secret == ""


@pytest.mark.parametrize("name", ["PUBLIC_URL", "API_URL"])
@pytest.mark.parametrize(("value", "said"), [
    ("https://chat.example.com:web", "write an address"), ("https://[::1", "write an address"),
    ("https://chat.example.com:99999", "write an address"), ("https://chat.example.com:0", "write an address"),
    ("https://a b.example.com", "write an address"), ("chat.example.com", "write an address"),
    ("https://chat.example.com/app", "write the origin only"),
    ("https://chat.example.com?x=1", "write the origin only"),
    ("https://ada@chat.example.com", "write the origin only"), ("https://chat.example.com/#x", "write the origin only"),
])
def test_an_address_of_ours_that_is_no_origin_is_a_problem_in_the_list(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*{said}"):
        load({**PRODUCTION, name: value})


@pytest.mark.parametrize(("value", "origin"), [
    ("https://chat.example.com:443", "https://chat.example.com"), ("http://localhost:80/", "http://localhost"),
    ("https://Chat.Example.com/", "https://chat.example.com"), ("http://[::1]:3000", "http://[::1]:3000"),
    ("https://chat.example.com:80", "https://chat.example.com:80"),
])
def test_our_addresses_are_written_as_browsers_write_origins(value: str, origin: str) -> None:
    settings = load({"PUBLIC_URL": value, "API_URL": value})
    assert (settings.public_url, settings.api_url) == (origin, origin)


def test_the_port_is_ports_or_the_public_addresss_or_3000() -> None:
    assert load({"PUBLIC_URL": "http://localhost:4000", "PORT": "5000"}).port == 5000
    assert load({"PUBLIC_URL": "http://localhost:4000"}).port == 4000
    assert load({"PUBLIC_URL": "http://localhost:80"}).port == 80
    assert load({"PUBLIC_URL": "http://localhost"}).port == 3000


def test_the_app_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    assert load({}).listen_host == load(PRODUCTION).listen_host == "127.0.0.1"
    assert load({**PRODUCTION, "LISTEN_HOST": "0.0.0.0"}).listen_host == "0.0.0.0"
    with pytest.raises(SettingsError, match="LISTEN_HOST is 'everywhere'; write an IP address"):
        load({"LISTEN_HOST": "everywhere"})


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
    source = "".join(file.read_text() for file in (root / "chatapp/settings").glob("[!_]*.py"))
    read = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source)) - {"REFLEX_ENV_MODE"}
    explained = set(re.findall(r"^([A-Z_]+)=", (root / ".env.example").read_text(), re.M))
    assert read <= explained, read - explained


def test_operators_are_named_with_commas_between_them() -> None:
    assert load({}).operator_emails == ()
    assert load({"OPERATOR_EMAILS": " a@example.com,b@example.com , "}).operator_emails == (
        "a@example.com", "b@example.com")


@pytest.mark.parametrize(("text", "limit"), [("", None), ("50", Decimal(50)), (" 49.50 ", Decimal("49.50"))])
def test_the_operators_spend_limit_is_dollars(text: str, limit: Decimal | None) -> None:
    assert load({"SPEND_LIMIT_USD": text}).spend_limit_usd == limit
    assert load({"SPEND_LIMIT_MAX_USD": text}).spend_limit_max_usd == (limit or 1000)


@pytest.mark.parametrize("text", ["0", "0.00", "-5", "1e3", "NaN", "$50", "50.001", "1,000", "off", "9" * 40, "٥٠"])
def test_a_spend_limit_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"SPEND_LIMIT_USD .* write dollars"):
        load({"SPEND_LIMIT_USD": text})


def test_customers_can_always_choose_at_least_a_dollar() -> None:
    assert load({"SPEND_LIMIT_USD": "0.50"}).spend_limit_usd == Decimal("0.50")
    with pytest.raises(SettingsError, match="SPEND_LIMIT_MAX_USD"):
        load({"SPEND_LIMIT_MAX_USD": "0.99"})
