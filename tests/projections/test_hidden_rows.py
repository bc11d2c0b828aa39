"""`verify --projections` against the owner who switches an index of a read table off while a row is written."""

from typing import Any

import pytest
from psycopg import Cursor
from psycopg.sql import SQL, Identifier

from projections import checking
from projections.checking import Problem, check
from projections.reports import ALL
from projections.versions import Definition, schema_of
from tests.projections.world import World

INDEXES = """
SELECT indexrelid, relname, coalesce(pg_get_expr(indpred, indrelid), 'true') FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s::regclass
"""
SWITCH = "UPDATE pg_index SET indisready = %s, indisvalid = %s WHERE indexrelid = %s"
REWRITE = SQL("""
WITH row AS (DELETE FROM {0} WHERE ctid = (SELECT max(ctid) FROM {0} WHERE {1}) RETURNING *) INSERT INTO {0} TABLE row
""")


def test_each_index_of_a_read_table_that_does_not_lead_to_every_row_is_named(
    everything: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows themselves are as the log makes them: only who reads by that index misses one."""
    hidden, tried = checking._hidden, []

    def attacked(cursor: Cursor[Any], definition: Definition, table: str, live: int) -> Problem | None:
        name = Identifier(schema_of(definition.name, live), table)
        where = f"{schema_of(definition.name, live)}.{table}"
        for oid, index, condition in cursor.execute(INDEXES, (where,)).fetchall():
            with cursor.connection.transaction(force_rollback=True):
                cursor.execute(SWITCH, (False, False, oid))
                rewritten = cursor.execute(REWRITE.format(name, SQL(condition))).rowcount
                cursor.execute(SWITCH, (True, True, oid))
                problem = hidden(cursor, definition, table, live)
            if rewritten:
                tried.append(index)
                assert problem is not None, index
                assert (problem.table, problem.message.split(" leads to ")[0]) == (where, f"the index {index}")
        return hidden(cursor, definition, table, live)

    monkeypatch.setattr(checking, "_hidden", attacked)
    assert check(everything.url, everything.secrets) is None
    assert len(tried) > sum(len(each.keys) for each in ALL) * 2, tried


def test_an_index_of_somebody_s_own_runs_no_code(everything: World) -> None:
    """Who asks may be a superuser, whoever owns the tables."""
    everything.tamper(
        "CREATE FUNCTION public.caught(text) RETURNS text IMMUTABLE LANGUAGE plpgsql"
        " AS $$ BEGIN IF current_setting('application_name') LIKE '% check' THEN RAISE 'run'; END IF; RETURN $1; END $$"
    )
    everything.tamper("CREATE INDEX spy ON read_texts_v1.texts (public.caught(customer_id))")
    everything.tamper("CREATE INDEX spies ON read_texts_v1.texts (leaf_index) WHERE public.caught(customer_id) <> ''")
    assert check(everything.url, everything.secrets) is None
