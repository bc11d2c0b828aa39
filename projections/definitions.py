"""The definitions of the read side, compared with what `install` makes: views, tables, owners, grants, row security.

What should be there is made anew beside what is there, by the same code and on the same server, in a transaction that
is rolled back; what both say is then read with the queries of `ledger.verification.definitions`.
"""

from typing import Any

from psycopg import Connection

from ledger.verification.definitions import Difference, differences, of_schemas
from projections import versions
from projections.reports import ALL

_OWNER = "SELECT current_user, pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = 'ledger'"


def check(url: str) -> list[Difference]:
    """Every definition of the read side at `url` that is not what this release makes it, by place; for its owner.

    Tables of another release are for `checking` to report: then nothing is found here.
    """
    with versions.connect(url, "check") as connection:
        return differing(connection)


def differing(connection: Connection[Any]) -> list[Difference]:
    """The same over a connection; nothing is changed."""
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        versions.changing(cursor)
        digests = {each.name: each.digest for each in ALL}
        rows = [row for row in cursor.execute(versions.QUERIES["live"]).fetchall() if row[0] in digests]
        if {name: digest for name, _, digest in rows} != digests:
            return []
        live = {name: number for name, number, _ in rows}
        (us, owner) = cursor.execute(_OWNER).fetchall()[0]
        schemas = versions.schemas(live)
        found = of_schemas(cursor, schemas, owner)
        versions.make_anew(cursor, ALL, live)
        return differences(found, of_schemas(cursor, schemas, us))
