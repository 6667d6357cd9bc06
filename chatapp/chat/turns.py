"""A turn in the database: begun in one transaction, checkpointed while it runs, saved whole in one transaction.

A `Turn` row exists exactly while an answer is being written. Its lease is renewed by the process that writes; a lease
that ran out means that this process died: `chat.recovery` then takes the turn over.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from chatapp.agent import history
from chatapp.billing import admission, holds, ledger
from chatapp.chat import chunks
from chatapp.chat.draft import Draft
from chatapp.chat.threads import ChatError, owned_thread, title_of, touch
from chatapp.clients.code import Picture
from chatapp.db import Database, now
from chatapp.ids import AccountId, MessageId, ThreadId, new_id
from chatapp.models import Account, Figure, Hold, Message, Thread, Turn

LEASE = timedelta(seconds=20)
CAME_TO_NOTHING = ("failed", "interrupted")
MAX_RUNNING = 5
"""Answers of one account at the same time: more than a person reads, and a bound on what a script can start."""
SAME_QUESTION = timedelta(seconds=5)
"""Within this time the same question for a new chat is taken for a double click."""
RUNNER = f"{socket.gethostname()[:40]}:{os.getpid()}"


Checked: TypeAlias = Literal["go on", "stop", "lost"]
"""Of a turn: `stop` if the person asked for that, `lost` if another process has taken it for dead and ended it."""


@dataclass(frozen=True)
class Prompt:
    """One question, checked and stored.

    Attributes:
        message_id: of the answer that will be written; also the turn's id.
        history_json: the thread's earlier messages, as the agent keeps them.
    """

    account_id: AccountId
    thread_id: ThreadId
    message_id: MessageId
    text: str
    model: str
    history_json: str


class AlreadyAsked(Exception):
    """The same question began a new chat a moment ago: a second Enter, or a second click. `prompt` is that one."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(prompt.thread_id)
        self.prompt = prompt


def begin(
    db: Database, account_id: AccountId, thread_id: object | None, text: str, *, model: str, plan: str,
    counted: Sequence[tuple[str, datetime]] = (),
) -> Prompt:
    """Store the question and an empty answer; a new thread when `thread_id` is None.

    `counted` are the quotas that the question was counted in, with their windows' starts.

    Raises:
        NotFound: the thread is not this account's.
        ChatError: an answer is still being written in this thread, or too many of the account's are.
        AlreadyAsked: this is a repetition of what has just begun.
    """
    windows = [[account_id, quota, start.isoformat()] for quota, start in counted]
    try:
        with db.session() as session:
            account_id = _home(session, account_id)
            _room(session, account_id, text if thread_id is None else None)
            thread = _thread(session, account_id, thread_id, text)
            earlier = _history(session, thread.id)
            asked = now()
            session.add(Message(thread_id=thread.id, account_id=account_id, role="user", text=text, created_at=asked))
            answer = Message(thread_id=thread.id, account_id=account_id, role="assistant", status="streaming",
                             model=model, plan=plan, created_at=asked + timedelta(microseconds=1))
            session.add(answer)
            session.add(Turn(id=answer.id, account_id=account_id, thread_id=thread.id, runner=RUNNER,
                             lease_until=now() + LEASE, counted=windows))
            session.flush()
            return Prompt(account_id, ThreadId(thread.id), MessageId(answer.id), text, model, earlier)
    except IntegrityError as error:
        raise ChatError("An answer is still being written in this chat. Wait for it, or stop it.") from error


def checkpoint(db: Database, message_id: MessageId, first_number: int, operations: Sequence[str]) -> Checked:
    """Renew the lease and store new operations; see `Checked` for what is said."""
    with db.session() as session:
        renewed = session.exec(
            update(Turn).where(col(Turn.id) == message_id, col(Turn.runner) == RUNNER)
            .values(lease_until=now() + LEASE).returning(col(Turn.stop_requested))
        ).all()
        if renewed and operations:
            chunks.store(session, db, message_id, first_number, operations)
    if not renewed:
        return "lost"
    return "stop" if renewed[0][0] else "go on"


def request_stop(db: Database, account_id: AccountId, message_id: MessageId) -> None:
    """Ask whichever process writes this answer to stop."""
    with db.session() as session:
        session.exec(update(Turn).where(col(Turn.id) == message_id, col(Turn.account_id) == account_id)
                     .values(stop_requested=True))


def save(db: Database, message_id: MessageId, draft: Draft, *, status: str, error: str, history_json: str) -> Message:
    """Save the answer whole with what it cost, and end the turn. Doing it again changes nothing.

    Nothing of the turn runs any more. What it still holds are steps that ended while the database took nothing down, or
    whose process died: they are settled with their estimates now, so that the answer's price has them. A question that
    came to nothing, and cost the customer nothing, is given back to the quotas that it was counted in.
    """
    holds.sweep_turn(db, message_id, now())
    with db.session() as session:
        thread, message = _locked(session, message_id)
        if message.status != "streaming":
            return message
        draft.close_open_parts()
        message.status, message.error, message.text = status, error, draft.text
        message.parts, message.sources = draft.parts, draft.sources
        message.history = history_json
        message.finished_at = now()
        session.add(message)
        touch(session, thread)
        # The turn first: this waits for a checkpoint under way, whose chunk must be found here.
        ended = session.exec(delete(Turn).where(col(Turn.id) == message_id).returning(col(Turn.counted))).all()
        held = _holds(session, message_id)  # before the total: what is settled in between is in the total then
        total = ledger.turn_total(session, message_id)
        if status in CAME_TO_NOTHING and total.cost_nanousd == 0 and not held:
            admission.uncount(session, [(account, quota, datetime.fromisoformat(start))
                                        for counted, in ended for account, quota, start in counted])
        chunks.store_rest(session, db, message_id, draft.operations)
        message.cost_nanousd, message.charge_nanousd = total.cost_nanousd, total.charge_nanousd
        message.exact = total.exact
        return message


def _holds(session: Session, message_id: MessageId) -> bool:
    return session.exec(select(Hold.id).where(Hold.turn_id == message_id).limit(1)).first() is not None


def save_figure(db: Database, message_id: MessageId, figure: Picture) -> str:
    """Store a picture that code made, for whoever owns the answer now; returns its id.

    A visitor who signs in meanwhile takes the chat along, and this picture with it.
    """
    with db.session() as session:
        owner = session.exec(select(Message.account_id).where(Message.id == message_id)).one()
        home = _home(session, AccountId(owner))
        row = Figure(account_id=home, message_id=message_id, mime=figure.mime, data=figure.data)
        session.add(row)
        return row.id


def _home(session: Session, account_id: AccountId) -> AccountId:
    """The account itself, or the one that it was merged into since the session was looked up.

    The row is locked: a merge that is under way is waited for, one that follows finds what is added here, and two
    questions at once are counted one after the other.
    """
    account = session.exec(select(Account).where(Account.id == account_id).with_for_update()).one()
    return AccountId(account.merged_into or account.id)


def _room(session: Session, account_id: AccountId, new_question: str | None) -> None:
    """Raise unless the account may begin another answer now."""
    running = session.exec(
        select(Turn, Message).join(Message, (col(Message.thread_id) == col(Turn.thread_id)))
        .where(Turn.account_id == account_id, Message.role == "user")
        .order_by(col(Message.created_at), col(Message.id))
    ).all()
    asked = {turn.id: (turn, message) for turn, message in running}  # the last question of each thread
    for turn, question in asked.values():
        if new_question == question.text and turn.created_at > now() - SAME_QUESTION:
            raise AlreadyAsked(Prompt(account_id, ThreadId(turn.thread_id), MessageId(turn.id), question.text, "", ""))
    if len(asked) >= MAX_RUNNING:
        raise ChatError(f"{MAX_RUNNING} answers are being written for you already. Wait for one of them, or stop it.")


def _locked(session: Session, message_id: MessageId) -> tuple[Thread, Message]:
    """An answer and its thread, locked in the order in which a merge of accounts locks them."""
    thread_id = session.exec(select(Message.thread_id).where(Message.id == message_id)).one()
    thread = session.get_one(Thread, thread_id, with_for_update=True)
    return thread, session.get_one(Message, message_id, with_for_update=True)


def _thread(session: Session, account_id: AccountId, thread_id: object | None, text: str) -> Thread:
    if thread_id is not None:
        thread = owned_thread(session, account_id, thread_id)
    else:
        thread = Thread(id=new_id(), account_id=account_id, title=title_of(text))
    touch(session, thread)
    session.flush()
    return thread


def _history(session: Session, thread_id: str) -> str:
    """The messages of all earlier turns, in the agent's JSON.

    A turn that did not finish has no messages of its own: its question and what had arrived stand in for them.
    """
    rows = session.exec(select(Message).where(Message.thread_id == thread_id)
                        .order_by(col(Message.created_at), col(Message.id))).all()
    turns = []
    question = ""
    for message in rows:
        if message.role == "user":
            question = message.text
        elif message.history:
            turns.append(message.history)
        elif question:
            turns.append(history.of_text(question, message.text))
    return history.join(turns)
