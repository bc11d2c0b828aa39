"""Whom a service runs as in the database."""

import psycopg

from deploy.places import SetupError

_MAY_CHANGE = """
SELECT current_user, has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')
FROM pg_class WHERE oid = to_regclass('ledger.events')
"""


def refuse_owner(url: str) -> None:
    """Raises SetupError where a service would run as somebody who may change evidence: an owner or a superuser."""
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(_MAY_CHANGE).fetchone()
    if row is not None and row[1]:
        raise SetupError(
            f"the service would run as the database user {row[0]}, who may change the log: give LEDGER_DATABASE_URL "
            "a user of the role ledger_appender (serve intake), ledger_projector (serve projections) or "
            "ledger_relay (serve relay)"
        )
