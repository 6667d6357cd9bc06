"""Who bears a step

The customer, or the platform: side calls, and requests whose answer never began.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("hold", "usage_event")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("bearer", sa.String(16), nullable=False, server_default="customer"))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "bearer")
