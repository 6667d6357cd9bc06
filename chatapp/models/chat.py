"""What is asked and answered: threads, messages, and the answers that are being written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from chatapp.ids import new_id
from chatapp.models.columns import account_column, created_column, json_column, nanousd_column, text_column, time_column


class Thread(SQLModel, table=True):
    """One chat."""

    __table_args__ = (Index("ix_thread_account_updated", "account_id", "updated_at"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    account_id: str = account_column(index=False)
    title: str = Field(default="", max_length=200)
    created_at: datetime = created_column()
    updated_at: datetime = created_column()


class Message(SQLModel, table=True):
    """A question or an answer. An answer's id is its turn's id.

    Attributes:
        role: `user` | `assistant`.
        status: `streaming` | `done` | `stopped` | `interrupted` | `failed`.
        parts: what the page shows in order, each an object with a `type` (text, search, code, …).
        sources: `{number, title, url, …}`; numbers are the server's.
        history: pydantic-ai's messages of this turn in JSON, for the next turn.
        error: what the person is told when status is `failed`.
        plan: the plan under which an answer was made.
        exact: False while any of its cost is an estimate.
    """

    __table_args__ = (Index("ix_message_thread_created", "thread_id", "created_at"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    thread_id: str = Field(foreign_key="thread.id", max_length=36)
    account_id: str = account_column()
    role: str = Field(max_length=16)
    status: str = Field(default="done", max_length=16, index=True)
    text: str = text_column()
    parts: list[dict[str, Any]] = json_column(list)
    sources: list[dict[str, Any]] = json_column(list)
    history: str = text_column()
    error: str = text_column()
    plan: str = Field(default="", max_length=50)
    model: str = Field(default="", max_length=200)
    cost_nanousd: int = nanousd_column()
    charge_nanousd: int = nanousd_column()
    exact: bool = True
    created_at: datetime = created_column()
    finished_at: datetime | None = time_column(nullable=True)


class Turn(SQLModel, table=True):
    """An answer being written: who writes it, and until when that is believed.

    A row exists only while the turn runs. A lease that has run out means that its process died.

    Attributes:
        counted: the quotas that its question was counted in, as `[account id, quota, start of the window]` each: the
            account is the one that asked, whoever has the chat by now.
    """

    id: str = Field(primary_key=True, max_length=36)
    account_id: str = account_column()
    thread_id: str = Field(max_length=36, unique=True)
    runner: str = Field(max_length=64)
    lease_until: datetime = time_column(index=True)
    stop_requested: bool = False
    counted: list[Any] = json_column(list)
    created_at: datetime = created_column()


class Chunk(SQLModel, table=True):
    """A numbered piece of an answer being written: what a reader in another process, or after a crash, finds.

    Deleted some minutes after the message was saved whole (`chat.chunks.sweep`).
    """

    message_id: str = Field(primary_key=True, max_length=36)
    number: int = Field(primary_key=True)
    data: str = text_column()


class Figure(SQLModel, table=True):
    """A picture made by executed code."""

    id: str = Field(default_factory=new_id, primary_key=True, max_length=36)
    account_id: str = account_column()
    message_id: str = Field(index=True, max_length=36)
    mime: str = Field(max_length=50)
    data: bytes = Field(sa_column=Column(LargeBinary(), nullable=False))
