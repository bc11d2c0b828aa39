"""Whom a service runs as in the database, and that it reaches the database itself."""

import psycopg

from deploy.places import SetupError

_WHO = """
SELECT pg_backend_pid(), current_user, has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')
FROM pg_class WHERE oid = to_regclass('ledger.events')
"""


def refuse_owner(url: str) -> None:
    """Raises SetupError where a service would run as somebody who may change evidence: an owner or a superuser.

    Also where a connection pooler answers for PostgreSQL: what is prepared, set and listened for on a connection would
    be lost, or be somebody else's, and good commands would fail one by one.
    """
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(_WHO).fetchone()
        greeted_by = connection.info.backend_pid
    if row is not None and row[0] != greeted_by:
        raise SetupError(
            "the database address leads to a connection pooler: give LEDGER_DATABASE_URL and LEDGER_ERASER_URL "
            "PostgreSQL's own address, since the services keep connections of their own (about 20 in all)"
        )
    if row is not None and row[2]:
        raise SetupError(
            f"the service would run as the database user {row[1]}, who may change the log: give LEDGER_DATABASE_URL "
            "a user of the role ledger_appender (serve intake), ledger_projector (serve projections) or "
            "ledger_relay (serve relay)"
        )
