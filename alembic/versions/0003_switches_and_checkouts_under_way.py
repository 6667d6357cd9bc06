"""Switches and checkouts under way

Until when no question may spend because its plan is being switched, and when an account was last sent to a checkout.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("balance", sa.Column("switching_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("subscription", sa.Column("checkout_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("subscription", "checkout_at")
    op.drop_column("balance", "switching_until")
