"""Every table beside the log: each value of each is held against the log, or it is said why it is no evidence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier

from ledger.verification import definitions as log_definitions
from projections import checking, definitions
from projections.checking import Problem, check
from projections.reports import ALL
from projections.texts import TEXTS
from projections.versions import Definition, NotInstalled, schema_of
from tests.projections.world import World

NO_EVIDENCE = {
    "public.ledger_migrations": "what `migrate` did; what the tables are, `verify` reads in the catalogs",
    "service.announced": "what was said on the queue already; what is so stands in the log",
    "service.announcers": "how far the queue was told; what is so stands in the log",
    "service.heartbeat": "what the running parts say of themselves, overwritten each second",
}
"""Compared with nothing: whatever stands there, no answer about a customer is another."""
TABLES = """
SELECT format('%s.%s', nspname, relname) AS "table" FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm', 'f') AND nspname NOT IN ('ledger', 'information_schema')
  AND NOT starts_with(nspname, 'pg_')
"""
MISSING, STRAY = "the row is missing, and the log makes it", "the log makes no such row"
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'"
OF_TYPE = {
    "text": "coalesce({0}, '') || 'x'",
    "bigint": "coalesce({0}, 0) + 1000000",
    "integer": "coalesce({0}, 0) + 1",
    "boolean": "NOT coalesce({0}, false)",
    "timestamp with time zone": "coalesce({0}, 'epoch') + interval '1 hour'",
    "text[]": "coalesce({0}, ARRAY[]::text[]) || 'x'::text",
    "integer[]": "coalesce({0}, ARRAY[]::integer[]) || 1",
    "timestamp with time zone[]": "coalesce({0}, ARRAY[]::timestamptz[]) || 'epoch'::timestamptz",
    "jsonb": "coalesce({0}, jsonb_build_object()) || jsonb_build_object('x', 1)",
}


def test_no_table_is_forgotten_here(everything: World) -> None:
    compared = {f"{schema_of(each.name, 1)}.{table}" for each in ALL for table in each.keys}
    assert {row["table"] for row in everything.ask(TABLES)} == compared | NO_EVIDENCE.keys() | {"projection.versions"}


def test_every_value_and_every_row_of_every_read_table_is_held_against_the_log(
    everything: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one check, where it compares: derive once, then change one thing after the other and take it back."""
    compare, tried = checking._difference, []

    def attacked(
        cursor: Cursor[Any], definition: Definition, table: str, key: tuple[str, ...], live: int, fresh: int
    ) -> Problem | None:
        schema = schema_of(definition.name, live)
        with cursor.connection.transaction(force_rollback=True):
            for attack, said in attacks(cursor, schema, table, key):
                with cursor.connection.transaction(force_rollback=True):
                    assert cursor.execute(attack).rowcount == 1
                    problem = compare(cursor, definition, table, key, live, fresh)
                assert problem is not None, attack.as_string()
                assert problem.table == f"{schema}.{table}"
                assert problem.message in said
            tried.append(table)
        return compare(cursor, definition, table, key, live, fresh)

    monkeypatch.setattr(checking, "_difference", attacked)
    assert check(everything.url, everything.secrets) is None
    assert tried == [table for each in ALL for table in each.keys]


def attacks(
    cursor: Cursor[Any], schema: str, table: str, key: tuple[str, ...]
) -> Iterator[tuple[Composed, tuple[str, ...]]]:
    """One statement a column, one that takes a row away and one that doubles it, each with what may be said of it.

    What would refuse them is dropped.
    """
    name, where = Identifier(schema, table), f"{schema}.{table}"
    for (constraint,) in cursor.execute(CONSTRAINTS, (where,)).fetchall():
        cursor.execute(SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, Identifier(constraint)))
    for column, type_ in cursor.execute(COLUMNS, (where,)).fetchall():
        change = SQL(OF_TYPE[type_]).format(Identifier(column))
        one = SQL("UPDATE {0} SET {1} = {2} WHERE ctid = (SELECT ctid FROM {0} LIMIT 1)")
        changed = (f"not what the log makes it: {column}",)
        yield one.format(name, Identifier(column), change), (MISSING, STRAY) if column in key else changed
    yield SQL("DELETE FROM {0} WHERE ctid = (SELECT ctid FROM {0} LIMIT 1)").format(name), (MISSING,)
    yield SQL("INSERT INTO {0} SELECT * FROM {0} LIMIT 1").format(name), ("the row is there 2 times",)


@pytest.mark.parametrize(
    ("column", "value", "table"),
    [
        ("position", "position - 30", "read_texts_v1.texts"),  # further on than the log: see test_checking
        ("digest", "'another'", "projection.versions"),
        ("number", "7", "read_texts_v7.texts"),
    ],
)
def test_what_is_said_of_a_version_is_held_against_its_tables(
    everything: World, column: str, value: str, table: str
) -> None:
    with changed(everything, f"UPDATE projection.versions SET {column} = {value} WHERE name = 'texts'"):
        problem = check(everything.url, everything.secrets, definitions=[TEXTS])
    assert problem is not None
    assert problem.table == table


@pytest.mark.parametrize("change", ["live = false", "name = 'another'"])
def test_a_version_that_is_said_not_to_live_is_no_good_news_and_no_reason_to_drop_it(
    everything: World, change: str
) -> None:
    with (
        changed(everything, f"UPDATE projection.versions SET {change} WHERE name = 'texts'"),
        pytest.raises(NotInstalled, match="the projection texts does not exist yet"),
    ):
        check(everything.url, everything.secrets)
    assert check(everything.url, everything.secrets, definitions=[TEXTS]) is None


def test_what_is_no_evidence_changes_no_verdict(everything: World) -> None:
    """Nor do `stopped_at` and `reason`, which health tells of."""
    everything.tamper("UPDATE projection.versions SET stopped_at = 7, reason = 'it rained'")
    everything.tamper("INSERT INTO service.heartbeat VALUES ('intake', now(), '{}')")
    everything.tamper("INSERT INTO service.announced VALUES ('overdue:P-1')")
    everything.tamper("UPDATE service.announcers SET position = position + 7")
    everything.tamper("DELETE FROM public.ledger_migrations")
    assert check(everything.url, everything.secrets) is None
    assert definitions.check(everything.url) == log_definitions.check(everything.url) == []


@contextmanager
def changed(world: World, statement: str) -> Iterator[None]:
    """The bookkeeping of the versions as `statement` leaves it, and afterwards as it was."""
    world.tamper("CREATE TABLE public.kept AS TABLE projection.versions")
    world.tamper(statement)
    try:
        yield
    finally:
        world.tamper("DELETE FROM projection.versions")
        world.tamper("INSERT INTO projection.versions TABLE public.kept")
        world.tamper("DROP TABLE public.kept")
