"""What waits, oldest first

A claim takes the oldest messages that wait. With the old index it read and sorted all of them, for each batch: after a
day's outage that was seconds for each.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WAITING = sa.text("delivered_at IS NULL AND parked_at IS NULL")


def upgrade() -> None:
    op.drop_index("ix_outbox_due", table_name="outbox_message")
    op.create_index("ix_outbox_waiting", "outbox_message", ["channel", "created_at", "id"], sqlite_where=WAITING,
                    postgresql_where=WAITING)


def downgrade() -> None:
    op.drop_index("ix_outbox_waiting", table_name="outbox_message")
    op.create_index("ix_outbox_due", "outbox_message", ["channel", "delivered_at", "parked_at", "next_attempt_at"])
