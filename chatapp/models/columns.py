"""The kinds of columns that the tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, String, Text
from sqlmodel import Field

from chatapp.db import UtcDateTime, now


def time_column(*, nullable: bool = False, index: bool = False) -> Any:  # noqa: ANN401 - SQLModel's Field is untyped
    """An aware moment in UTC."""
    return Field(default=None if nullable else ..., sa_column=Column(UtcDateTime(), nullable=nullable, index=index))


def created_column() -> Any:  # noqa: ANN401
    """When the row was made, unless it is said."""
    return Field(default_factory=now, sa_column=Column(UtcDateTime(), nullable=False))


def nanousd_column() -> Any:  # noqa: ANN401
    """Integer nano-dollars, 0 unless it is said."""
    return Field(default=0, sa_column=Column(BigInteger(), nullable=False))


def json_column(default: Any) -> Any:  # noqa: ANN401
    """A list or an object that is read whole and never queried; `default` makes an empty one."""
    return Field(default_factory=default, sa_column=Column(JSON(), nullable=False))


def text_column() -> Any:  # noqa: ANN401
    """A text of any length, empty unless it is said."""
    return Field(default="", sa_column=Column(Text(), nullable=False))


def account_column(*, primary_key: bool = False, index: bool = True) -> Any:  # noqa: ANN401
    """The account that owns the row."""
    return Field(sa_column=Column(String(36), ForeignKey("account.id"), primary_key=primary_key, nullable=False,
                                  index=index and not primary_key))
