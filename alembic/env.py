"""Alembic's entry: runs on the connection it is handed by `Database.migrate()`, or opens the settings' database."""

from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from alembic import context
from chatapp import models  # noqa: F401 - fills SQLModel.metadata
from chatapp.db import Database, UtcDateTime
from chatapp.settings import load


def render_item(kind, item, autogen_context):
    """Write our types as SQLAlchemy's own, so that migrations never import the app."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String({item.length})" if item.length else "sa.String()"
    return False


def run(connection):
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True, render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    run(connection)
else:
    database = Database(load().database_url)
    with database.engine.connect() as own:
        run(own)
        own.commit()
    database.close()
