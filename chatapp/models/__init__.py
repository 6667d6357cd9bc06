"""All tables. Every table that has an owner names the account; money is integer nano-dollars; time is aware UTC.

Ids are UUIDv7 in text. Each room has the tables of the folder that it is named after.
"""

from chatapp.models.accounts import Account, Profile, ServerSession, Throttle
from chatapp.models.billing import (
    Balance,
    Hold,
    InboxMessage,
    JobRun,
    OutboxMessage,
    PolarObject,
    QuotaCount,
    Subscription,
    UsageEvent,
)
from chatapp.models.chat import Chunk, Figure, Message, Thread, Turn

__all__ = [
    "Account", "Balance", "Chunk", "Figure", "Hold", "InboxMessage", "JobRun", "Message", "OutboxMessage",
    "PolarObject", "Profile", "QuotaCount", "ServerSession", "Subscription", "Thread", "Throttle", "Turn",
    "UsageEvent",
]
