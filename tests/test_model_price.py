"""MODEL_PRICE: the operator's price table, and what the start says of one that is wrong."""

from __future__ import annotations

from dataclasses import astuple
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.settings import ModelPrice, Settings, SettingsError, load

OWN = {"OPENAI_BASE_URL": "http://localhost:11434/v1", "MODEL": "llama3:8b"}


def priced(text: str, **environment: str) -> Settings:
    return load({**OWN, "MODEL_PRICE": text, **environment})


def test_two_amounts_are_input_and_output() -> None:
    assert priced(" 0.50 / 1.50 ").model_price == ModelPrice(Decimal("0.50"), Decimal("1.50"))


def test_zero_means_zero() -> None:
    for text in ("0/0", "input=0, output=0"):
        assert priced(text).model_price == ModelPrice(Decimal(0), Decimal(0))


def test_parts_are_priced_by_name_in_any_order() -> None:
    price = priced("output=0.60, input=0.15,cache_read=0.075 , cache_write=0.2, cache_write_1h=0.3, reasoning=1, "
                   "request=0.001").model_price
    assert price is not None
    assert astuple(price) == tuple(map(Decimal, ("0.15", "0.60", "0.075", "0.2", "0.3", "1", "0.001")))


def test_several_models_are_priced_by_their_names_and_the_rest_by_the_nameless_one() -> None:
    settings = priced("llama3:8b: 0/0; org/big: input=3, output=15; 1/2")
    assert settings.model_prices == {
        "llama3:8b": ModelPrice(Decimal(0), Decimal(0)), "org/big": ModelPrice(Decimal(3), Decimal(15)),
    }
    assert settings.model_price == ModelPrice(Decimal(1), Decimal(2))
    assert priced("llama3:8b: 0/0").model_price is None


amount = st.decimals(0, 1000, places=6, allow_nan=False)
tables = st.dictionaries(
    st.sampled_from(("", "a", "llama3:8b", "org/name", "x y")), st.builds(ModelPrice, amount, amount, amount),
    min_size=1,
)


@given(tables)
def test_a_table_is_read_as_it_was_written(table: dict[str, ModelPrice]) -> None:
    text = ";".join(
        f"{model}{':' if model else ''} input={price.input_usd_per_million}, output={price.output_usd_per_million},"
        f" cache_read={price.cache_read_usd_per_million}" for model, price in table.items()
    )
    settings = priced(text, MODEL=next(iter(table)) or "other")
    found = dict(settings.model_prices)
    if settings.model_price is not None:
        found[""] = settings.model_price
    assert found == table


@pytest.mark.parametrize(("text", "what"), [
    ("cheap", "no output price in 'cheap'"), ("1", "no output price"), ("-1/2", "'-1' as its input price"),
    ("1/x", "'x' as its output price"), ("NaN/1", "'NaN' as its input"), ("Infinity/1", "'Infinity' as its input"),
    ("1e9/1", "'1e9' as its input"), ("1/1e-300", "'1e-300' as its output"), ("input=1", "no output price"),
    ("output=1", "no input price"), ("input=1, output=2, cached=3", "'cached', which is none of input, output"),
    ("input=1, output=2, input=3", "has input twice"), ("input=1, output=", "'' as its output price"),
    ("llama3:8b: 0/0; llama3:8b: 1/1", "prices llama3:8b twice"), ("1/2; 3/4", "prices all models twice"),
    (";", "no price in it"), ("llama3:8b", "no output price in '8b'"),
    ("big: 1/2", "has no price for MODEL=llama3:8b: it prices big"),
])
def test_a_malformed_table_is_named_with_what_is_wrong_and_how_to_mend_it(text: str, what: str) -> None:
    with pytest.raises(SettingsError) as raised:
        priced(text)
    [problem] = [line for line in str(raised.value).splitlines() if "MODEL_PRICE" in line]
    assert what in problem
    assert "has no price for MODEL" in what or "write input/output in dollars per million tokens" in problem


def test_an_own_endpoint_without_a_price_is_told_how_to_give_one() -> None:
    with pytest.raises(SettingsError, match=r"MODEL_PRICE is missing: .*0/0 where it costs nothing.*book"):
        priced("")


def test_a_host_that_the_price_book_knows_needs_no_table() -> None:
    assert priced("book", OPENAI_BASE_URL="https://openrouter.ai/api/v1").model_price is None
    assert load({"OPENAI_API_KEY": "sk-x", "MODEL": "gpt-5-mini"}).model_price is None
    with pytest.raises(SettingsError, match="MODEL_PRICE"):
        priced("", OPENAI_BASE_URL="https://api.openai.com.example.com/v1")
