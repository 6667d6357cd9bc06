"""Threads and messages in the database. Every function takes the account, and finds only what is that account's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlmodel import Session, col, select

from chatapp.db import Database, now
from chatapp.ids import AccountId, MessageId, is_id
from chatapp.models import Figure, Message, Thread, Turn
from chatapp.text import storable

_Owned = TypeVar("_Owned", Thread, Message, Figure)
TITLE_LENGTH = 60
MAX_QUESTION_CHARACTERS = 20_000


class ChatError(Exception):
    """Something about a chat that the person is told; `text` is what they read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NotFound(ChatError):
    """No such chat, or somebody else's: the two are not told apart."""

    def __init__(self) -> None:
        super().__init__("This chat does not exist, or it belongs to another account.")


@dataclass(frozen=True)
class OpenThread:
    """A thread with all its messages, oldest first, and the answer that is being written, if any."""

    thread: Thread
    messages: Sequence[Message]
    running: MessageId | None


def list_threads(db: Database, account_id: AccountId, *, limit: int = 500) -> Sequence[Thread]:
    """The account's threads, newest first."""
    with db.reading() as session:
        return session.exec(select(Thread).where(Thread.account_id == account_id)
                            .order_by(col(Thread.updated_at).desc(), col(Thread.id).desc()).limit(limit)).all()


def open_thread(db: Database, account_id: AccountId, thread_id: object) -> OpenThread:
    """A thread and its messages. Raises NotFound."""
    with db.reading() as session:
        thread = owned_thread(session, account_id, thread_id)
        messages = session.exec(select(Message).where(Message.thread_id == thread.id)
                                .order_by(col(Message.created_at), col(Message.id))).all()
        turn = session.exec(select(Turn).where(Turn.thread_id == thread.id)).first()
        return OpenThread(thread, messages, MessageId(turn.id) if turn else None)


def last_question(db: Database, account_id: AccountId, thread_id: object) -> str:
    """What was asked last in a thread. Raises NotFound."""
    with db.reading() as session:
        thread = owned_thread(session, account_id, thread_id)
        found = session.exec(select(Message.text).where(Message.thread_id == thread.id, Message.role == "user")
                             .order_by(col(Message.created_at).desc(), col(Message.id).desc()).limit(1)).first()
    if found is None:
        raise NotFound
    return found


def owned_thread(session: Session, account_id: AccountId, thread_id: object) -> Thread:
    """The thread, if it is this account's. Raises NotFound."""
    return _owned(session, Thread, account_id, thread_id)


def owned_message(db: Database, account_id: AccountId, message_id: object) -> Message:
    """The message, if it is this account's. Raises NotFound."""
    with db.reading() as session:
        return _owned(session, Message, account_id, message_id)


def owned_figure(db: Database, account_id: AccountId, figure_id: object) -> Figure:
    """The figure, if it is this account's. Raises NotFound."""
    with db.reading() as session:
        return _owned(session, Figure, account_id, figure_id)


def _owned(session: Session, table: type[_Owned], account_id: AccountId, row_id: object) -> _Owned:
    """The one check of whose a row is, for every id that comes from outside."""
    row = session.get(table, row_id) if is_id(row_id) else None
    if row is None or row.account_id != account_id:
        raise NotFound
    return row


def question_text(text: object) -> str:
    """What was asked, checked and made storable. Raises ChatError for nothing, or for too much."""
    question = storable(text if isinstance(text, str) else "").strip()
    if not question:
        raise ChatError("Type a question first.")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise ChatError(
            f"This question has {len(question):,} characters; the most that fits is {MAX_QUESTION_CHARACTERS:,}. "
            "Shorten it, or split it into two."
        )
    return question


def title_of(question: str) -> str:
    """A thread's title, made from its first question: its first words, cut at a word."""
    line = " ".join(question.split())
    if len(line) <= TITLE_LENGTH:
        return line
    head = line[: TITLE_LENGTH + 1].rsplit(" ", 1)[0]
    return head[:TITLE_LENGTH].rstrip(" ,.;:") + "…"


def touch(session: Session, thread: Thread) -> None:
    """Move a thread to the top of the list."""
    thread.updated_at = now()
    session.add(thread)


