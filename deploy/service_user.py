"""Whom a service runs as in the database, and that it reaches the database itself."""

import psycopg

from deploy.places import SetupError

_WHO = """
SELECT pg_backend_pid(), current_user, has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'), ARRAY(
    SELECT rolname FROM pg_roles WHERE rolname LIKE 'ledger\\_%' AND pg_has_role(oid, 'USAGE') ORDER BY rolname
)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'ledger' AND c.relname = 'events'
"""


def refuse_others(url: str, role: str | None = None) -> None:
    """Raises SetupError where a service would run as somebody who may change evidence (an owner or a superuser), or
    who is no member of `role`.

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
    if row is not None and role is not None and role not in row[3]:
        raise SetupError(
            f"this part needs a database user of the role {role}, and LEDGER_DATABASE_URL names {row[1]}, who has "
            f"{', '.join(row[3]) or 'no role of the ledger'}"
        )
