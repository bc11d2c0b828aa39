"""`verify --projections`: a quiet edit of a read table is found and named; test_tampering edits each of them."""

from itertools import count
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy import cli
from projections import checking, versions
from projections.checking import Problem, check
from projections.reports import ALL
from projections.runner import rebuild
from tests.projections.world import World, story


@pytest.fixture
def told(world: World) -> World:
    world.ledger.submit(story(world, 31, 60))
    world.catch_up()
    return world


def test_what_nobody_touched_is_as_the_log_makes_it(told: World) -> None:
    seen = []
    assert check(told.url, told.secrets, lambda done, total: seen.append((done, total))) is None
    size = told.ask("SELECT size FROM ledger.head")[0]["size"]
    assert seen[-1] == (size, size)
    assert told.ask("SELECT 1 FROM projection.versions WHERE NOT live") == []
    assert told.ask("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'read%%v2'") == []


@pytest.mark.parametrize(
    ("edit", "table", "key", "message"),
    [
        (
            "UPDATE read_promises_v1.promises SET due_at = due_at + interval '1 day' WHERE promise_id = 'P-3'",
            "read_promises_v1.promises",
            {"promise_id": "P-3"},
            "not what the log makes it: due_at",
        ),
        (
            "UPDATE read_promises_v1.history SET actor = 'u-9', latched = NOT latched WHERE leaf_index = 4",
            "read_promises_v1.history",
            {"leaf_index": 4},
            "not what the log makes it: latched, actor",
        ),
        (
            "DELETE FROM read_promises_v1.promises WHERE promise_id IN ('P-2', 'P-4')",
            "read_promises_v1.promises",
            {"promise_id": "P-2"},
            "the row is missing, and the log makes it",
        ),
        (
            "ALTER TABLE read_timeline_v1.timeline DROP CONSTRAINT timeline_pkey; "
            "INSERT INTO read_timeline_v1.timeline SELECT * FROM read_timeline_v1.timeline WHERE leaf_index = 2",
            "read_timeline_v1.timeline",
            {"leaf_index": 2},
            "the row is there 2 times",
        ),
        (
            "ALTER TABLE read_promises_v1.history ADD COLUMN whatever text",
            "read_promises_v1.history",
            None,
            "is missing or has other columns than this release makes",
        ),
        (
            "UPDATE projection.versions SET position = 100000 WHERE name = 'timeline'",
            "projection.versions",
            None,
            "more events were applied than the log holds",
        ),
    ],
)
def test_an_edit_is_found(told: World, edit: str, table: str, key: dict[str, object] | None, message: str) -> None:
    told.connection.execute(edit.encode())
    problem = check(told.url, told.secrets)
    assert problem is not None
    assert (problem.table, problem.message) == (table, message)
    assert key is None or problem.key == key
    assert told.ask("SELECT 1 FROM projection.versions WHERE NOT live") == []


def test_an_operator_of_the_owner_s_own_decides_nothing(told: World) -> None:
    """With one in a search path other rows would be derived, and an edit that fits them would pass for right."""
    told.connection.execute(
        "CREATE SCHEMA mine; CREATE FUNCTION mine.other(bigint, integer) RETURNS bigint IMMUTABLE LANGUAGE sql AS "
        "'SELECT CASE $1 WHEN 7 THEN 7 WHEN 8 THEN 6 ELSE $1 OPERATOR(pg_catalog.-) $2 END'; "
        "CREATE OPERATOR mine.- (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = mine.other)"
    )
    path = SQL("ALTER DATABASE {} SET search_path = mine, pg_catalog")
    told.connection.execute(path.format(Identifier(told.connection.info.dbname)))
    assert check(told.url, told.secrets) is None


def test_a_rebuild_mends_what_was_edited(told: World) -> None:
    told.connection.execute("DELETE FROM read_promises_v1.history")
    assert check(told.url, told.secrets) is not None
    rebuild(told.url, told.secrets, "promises")
    assert check(told.url, told.secrets) is None


def test_a_projection_that_lags_is_compared_where_it_stands(told: World) -> None:
    told.make(90)
    assert check(told.url, told.secrets) is None


def test_rows_that_come_while_it_derives_are_no_difference(told: World) -> None:
    def grow(done: int, total: int) -> None:
        told.make(90)
        told.catch_up()

    assert check(told.url, told.secrets, grow) is None
    assert told.rows("promises")["promises"][-1][0] == "P-90"


def test_rows_that_come_while_it_compares_are_no_difference(told: World, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, compare = count(90), checking._difference

    def grow(*given: Any) -> Problem | None:
        told.make(next(numbers))
        told.catch_up()
        return compare(*given)

    monkeypatch.setattr(checking, "_difference", grow)
    assert check(told.url, told.secrets) is None
    assert next(numbers) == 90 + sum(len(definition.keys) for definition in ALL)  # once a table


def test_whatever_the_database_makes_the_default_of_transactions(
    told: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of `verify --projections`, beside a runner that applies what comes while rows are compared."""
    (row,) = told.ask("SELECT current_database() AS name")
    for default in ("isolation = serializable", "read_only = on"):
        told.connection.execute(f'ALTER DATABASE "{row["name"]}" SET default_transaction_{default}'.encode())
    numbers, compare = count(90), checking._difference

    def grow(*given: Any) -> Problem | None:
        told.make(next(numbers))
        told.catch_up()
        return compare(*given)

    monkeypatch.setattr(checking, "_difference", grow)
    told.for_commands(monkeypatch)
    monkeypatch.setattr("sys.argv", ["promise-ledger", "verify", "--projections", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, orjson.loads(capsys.readouterr().out)["projections"]) == (0, "ok")


def test_read_tables_are_written_by_locks_whatever_the_database_makes_the_default(told: World) -> None:
    """Under `serializable` whoever waited for the row of a version would fail instead of going on."""
    (row,) = told.ask("SELECT current_database() AS name")
    for default in ("isolation = serializable", "read_only = on"):
        told.connection.execute(f'ALTER DATABASE "{row["name"]}" SET default_transaction_{default}'.encode())
    with versions.connect(told.url, "test") as connection:
        asked = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
        assert connection.execute(asked).fetchall() == [("read committed", "off")]


def test_what_a_dead_check_left_is_dropped_by_the_next(told: World) -> None:
    def die(done: int, total: int) -> None:
        told.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'promise-ledger check'"
        )

    with pytest.raises(psycopg.OperationalError):
        check(told.url, told.secrets, die)
    assert told.ask("SELECT 1 FROM projection.versions WHERE NOT live") != []
    assert check(told.url, told.secrets) is None
    assert told.ask("SELECT 1 FROM projection.versions WHERE NOT live") == []


def test_a_problem_is_said_as_json() -> None:
    problem = Problem("texts", "read_texts_v1.texts", {"leaf_index": 2, "member": "text"}, "the log makes no such row")
    assert problem.to_dict() == {
        "projection": "texts",
        "table": "read_texts_v1.texts",
        "key": {"leaf_index": 2, "member": "text"},
        "message": "the log makes no such row",
    }
    assert checking.Problem is Problem
