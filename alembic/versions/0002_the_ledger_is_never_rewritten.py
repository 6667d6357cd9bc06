"""The ledger is never rewritten

Triggers refuse UPDATE and DELETE of usage_event on both databases, whoever asks. SQLite drops a table's triggers when
a batch migration rebuilds it: a later revision that rebuilds usage_event must create them again.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REFUSAL = "A ledger row never changes; a correction is a new row."


def upgrade() -> None:
    op.add_column("balance", sa.Column("held_cost_nanousd", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER usage_event_refuses_{action} BEFORE {action.upper()} ON usage_event "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER usage_event_refuses_change BEFORE UPDATE OR DELETE ON usage_event "
        "FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(f"DROP TRIGGER usage_event_refuses_{action}")
    else:
        op.execute("DROP TRIGGER usage_event_refuses_change ON usage_event")
        op.execute("DROP FUNCTION refuse_ledger_change()")
    op.drop_column("balance", "held_cost_nanousd")
