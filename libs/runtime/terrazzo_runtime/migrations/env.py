"""Alembic's environment, the same for every service; the revisions live in each service's adapters."""

from alembic import context

with context.config.attributes["engine"].connect().execution_options(terrazzo_write=True) as connection:
    context.configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
