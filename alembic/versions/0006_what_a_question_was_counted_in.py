"""What a question was counted in

So that one that came to nothing is given back with the end of its turn, whichever process ends it. Of the turns that
run while this is applied, that is not known: their questions stay counted.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("counted", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("turn", "counted")
