"""Check the read side against the log: derive every projection again, beside it, and compare row by row.

A quiet edit of a read table is found so, and an index that leads readers past a row, as one that was off while the row
was written; `definitions` finds what was done to tables, views and functions themselves.
Runners go on meanwhile: each comparison is made in one snapshot, at the position that the live version has in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from ledger.collecting import rare_collections
from ledger.storage.keys import Secrets
from projections import versions
from projections.applying import Applier, Progress
from projections.filling import fill
from projections.log import Log
from projections.reports import ALL
from projections.versions import Definition, NotInstalled, Version, schema_of

_COLUMNS = """
SELECT attname, atttypid FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_WRONG = SQL("""
SELECT {keys} FROM (
    (TABLE {old} EXCEPT ALL TABLE {new}) UNION ALL (TABLE {new} EXCEPT ALL TABLE {old})
) AS wrong ORDER BY {keys} LIMIT 1
""")
_INDEXES = """
SELECT relname, pg_get_expr(indpred, indrelid), ARRAY(
    SELECT pg_get_indexdef(indexrelid, number, false) FROM generate_series(1, indnkeyatts) AS number ORDER BY number
)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE indrelid = to_regclass(%s) AND indisvalid AND amname = 'btree'
  AND NOT EXISTS (SELECT FROM pg_depend -- nobody's code is run
                  WHERE (classid, objid) = ('pg_class'::regclass, indexrelid)
                    AND refclassid NOT IN ('pg_class'::regclass, 'pg_constraint'::regclass))
ORDER BY relname
"""
_SCANS = """
SELECT set_config(name, CASE WHEN name = ANY (%s) THEN 'on' ELSE 'off' END, true)
FROM unnest(ARRAY['enable_seqscan', 'enable_indexscan', 'enable_indexonlyscan', 'enable_bitmapscan', 'enable_sort',
                  'enable_incremental_sort']) AS name
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """The first difference found. `key` names the row, None where the whole table is meant."""

    projection: str
    table: str
    key: dict[str, Any] | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)


def check(
    url: str,
    secrets: Secrets,
    progress: Progress = lambda done, total: None,
    definitions: Sequence[Definition] = ALL,
) -> Problem | None:
    """The first place where the read side is not what the log makes it, or None.

    Writes only scratch versions, dropped again at the end; a crash leaves them to the next rebuild or check.
    """
    with versions.connect(url, "check") as writer, versions.connect(url, "check reader") as reader, rare_collections():
        versions.exclusive(writer)
        live = {definition.name: _live(writer.cursor(), definition) for definition in definitions}
        try:
            return _check(url, writer, Log(reader), secrets, progress, live, definitions)
        finally:
            if not writer.closed:
                for definition in definitions:
                    versions.drop_unfinished(writer, definition.name)


def _check(
    url: str,
    writer: Connection[Any],
    log: Log,
    secrets: Secrets,
    progress: Progress,
    live: Mapping[str, Version],
    definitions: Sequence[Definition],
) -> Problem | None:
    size = log.size()
    for definition in definitions:
        if problem := _standing(definition, live[definition.name], size):
            return problem
    numbers = {}
    for definition in definitions:
        versions.drop_unfinished(writer, definition.name)
        with writer.transaction(), writer.cursor() as cursor:
            numbers[definition.name] = versions.create(cursor, definition, live=False)
    fill(url, log, secrets, numbers, {each: live[each.name].position for each in definitions}, progress)
    applier = Applier(writer, log, secrets, numbers)
    for definition in definitions:
        if problem := _compare(writer, applier, definition, numbers[definition.name]):
            return problem
    return None


def _live(cursor: Cursor[Any], definition: Definition) -> Version:
    row = cursor.execute(versions.QUERIES["position"], {"name": definition.name}).fetchone()
    if row is None:
        raise NotInstalled(f"the projection {definition.name} does not exist yet: run `promise-ledger migrate`")
    return Version(*row)


def _standing(definition: Definition, version: Version, size: int) -> Problem | None:
    """A version that cannot be compared: of another release, or further than the log."""
    if version.digest != definition.digest:
        return Problem(definition.name, "projection.versions", None, str(versions.outdated(definition.name)))
    if version.position > size:
        return Problem(definition.name, "projection.versions", None, "more events were applied than the log holds")
    return None


def _compare(writer: Connection[Any], applier: Applier, definition: Definition, number: int) -> Problem | None:
    """Compare the live tables with the scratch ones in one snapshot; rows that came meanwhile are applied in it."""
    with writer.transaction(), writer.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        live = _live(cursor, definition)
        while applier.advance(definition, live.position):
            pass
        for table, key in definition.keys.items():
            if problem := _difference(cursor, definition, table, key, live.number, number):
                return problem
            if problem := _hidden(cursor, definition, table, live.number):
                return problem
    return None


def _difference(
    cursor: Cursor[Any], definition: Definition, table: str, key: tuple[str, ...], live: int, fresh: int
) -> Problem | None:
    """The first row, by key, that stands in one of two versions of a table and not in the other."""
    old, new = (Identifier(schema_of(definition.name, number), table) for number in (live, fresh))
    name = f"{schema_of(definition.name, live)}.{table}"
    if (
        cursor.execute(_COLUMNS, (name,)).fetchall()
        != cursor.execute(_COLUMNS, (f"{schema_of(definition.name, fresh)}.{table}",)).fetchall()
    ):
        return Problem(definition.name, name, None, "is missing or has other columns than this release makes")
    keys = SQL(", ").join(map(Identifier, key))
    found = cursor.execute(_WRONG.format(old=old, new=new, keys=keys)).fetchone()
    if found is None:
        return None
    where = SQL(" AND ").join(SQL("{} = %s").format(Identifier(column)) for column in key)
    with cursor.connection.cursor(row_factory=dict_row) as rows:
        said, meant = (
            rows.execute(SQL("SELECT * FROM {} WHERE {}").format(each, where), found).fetchall() for each in (old, new)
        )
    return Problem(definition.name, name, dict(zip(key, found, strict=True)), _say(said, meant))


def _hidden(cursor: Cursor[Any], definition: Definition, table: str, live: int) -> Problem | None:
    """The first index of a table that does not lead to every row: who owns the database can switch it off and on again.

    Rows are counted in the index's order, which no other index has, or only at a higher price. Indexes that call code
    of somebody's own are none of ours: `definitions` names them.
    """
    name = f"{schema_of(definition.name, live)}.{table}"
    for index, condition, order in cursor.execute(_INDEXES, (name,)).fetchall():
        rows = SQL("SELECT FROM {} WHERE {}").format(
            Identifier(schema_of(definition.name, live), table), SQL(condition or "true")
        )
        stored = _counted(cursor, rows, ["enable_seqscan"])
        in_order = SQL("{} ORDER BY {} OFFSET 0").format(rows, SQL(", ").join(map(SQL, order)))
        found = _counted(cursor, in_order, ["enable_indexscan", "enable_indexonlyscan"])
        if stored != found:
            sentence = f"the index {index} leads to {found} of {stored} rows: it was off while one was written"
            return Problem(definition.name, name, None, sentence)
    return None


def _counted(cursor: Cursor[Any], rows: Composed, scans: list[str]) -> int:
    """How many `rows` there are where PostgreSQL finds them by these `scans` alone."""
    with cursor.connection.transaction(force_rollback=True):
        cursor.execute(_SCANS, (scans,))
        row = cursor.execute(SQL("SELECT count(*) FROM ({}) AS rows").format(rows)).fetchone()
    assert row is not None
    return int(row[0])


def _say(said: list[dict[str, Any]], meant: list[dict[str, Any]]) -> str:
    """How the rows differ; columns are named and never their values, which may be personal."""
    if not said:
        return "the row is missing, and the log makes it"
    if not meant:
        return "the log makes no such row"
    if len(said) > 1:
        return f"the row is there {len(said)} times"
    columns = [column for column, value in meant[0].items() if said[0][column] != value]
    return f"not what the log makes it: {', '.join(columns)}"
