"""Each role logs in and tries: it may do what its service does, and nothing that would change what was recorded."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from deploy.places import SetupError
from deploy.service_user import refuse_others
from deploy.up import SERVICES
from ledger.app import Ledger
from ledger.storage.migrations import migrate
from projections import texts
from projections.runner import Runner, install
from projections.versions import connect
from tests.storage.log import Log, claim, copied, make, told

ROLES = ("ledger_appender", "ledger_projector", "ledger_relay", "ledger_eraser", "ledger_auditor")
CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
MAY_CHANGE = {
    ("ledger_appender", "INSERT"): {
        "events",
        "inbox",
        "sealed",
        "customer_keys",
        "tiles",
        "checkpoints",
        "witnessed",
        "timestamps",
    },
    ("ledger_appender", "UPDATE"): {"head"},
    ("ledger_eraser", "UPDATE"): {"customer_keys"},
    ("ledger_eraser", "DELETE"): {"sealed"},
}
"""Schema `ledger`, whole: what is not here is refused."""
REMOVABLE = {"sealed": {"DELETE"}, "customer_keys": {"UPDATE"}, "head": {"UPDATE"}}
"""What no trigger refuses to the owner, because an erasure (or, for the head, an append) does it."""
COLUMNS = {("ledger_appender", "head"): "size", ("ledger_eraser", "customer_keys"): "wrapped"}
SQLS = {
    "INSERT": "INSERT INTO ledger.{} SELECT * FROM ledger.{} LIMIT 0",
    "UPDATE": "UPDATE ledger.{} SET {} = {} WHERE false",
    "DELETE": "DELETE FROM ledger.{} WHERE false",
    "TRUNCATE": "TRUNCATE ledger.{}",
}


def as_role(url: str, role: str) -> str:
    """The URL for a login of that role; auditors log in as themselves."""
    parts = urlsplit(url)
    login = "anna" if role == "ledger_auditor" else role
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture(scope="module")
def log(postgres_url: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log with a few events and its read side, filled by the owner."""
    with copied(urlsplit(postgres_url)._replace(path=f"/{_template}").geturl(), "ledger_roles") as url:
        log = Log(url, tmp_path_factory.mktemp("roles"))
        install(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE ROLE anna LOGIN IN ROLE ledger_auditor")
        with log.open() as ledger:
            told(ledger, *(make(number) for number in range(10)))
        log._opened.clear()
        yield log
        with psycopg.connect(url) as connection:
            connection.execute("DROP ROLE anna")


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tables(url: str) -> list[tuple[str, str]]:
    """Every table of schema ledger, with a column of it."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r' AND a.attnum = 1"
        ).fetchall()


def attempt(connection: Connection, change: str, table: str, column: str) -> str | None:
    """None where it was done, and undone; else how PostgreSQL names the refusal."""
    names = {"INSERT": (table, table), "UPDATE": (table, column, column)}.get(change, (table,))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(SQL(SQLS[change]).format(*map(Identifier, names)))
    except psycopg.errors.InsufficientPrivilege:
        return "no privilege"
    except psycopg.errors.RestrictViolation:
        return "append-only"
    return None


def test_each_role_logs_in_and_changes_what_its_work_is_and_nothing_else(log: Log, role: str) -> None:
    with psycopg.connect(as_role(log.url, role), autocommit=True) as connection:
        assert connection.execute("SELECT pg_has_role(session_user, %s, 'USAGE')", [role]).fetchone() == (True,)
        for table, first in tables(log.url):
            for change in CHANGES:
                found = attempt(connection, change, table, COLUMNS.get((role, table), first))
                expected = None if table in MAY_CHANGE.get((role, change), ()) else "no privilege"
                assert found == expected, (role, change, table)


@pytest.mark.parametrize("change", ["UPDATE", "DELETE", "TRUNCATE"])
def test_the_owner_is_refused_as_well(log: Log, change: str) -> None:
    with psycopg.connect(log.url, autocommit=True) as connection:
        found = {table: attempt(connection, change, table, first) for table, first in tables(log.url)}
    assert found == {table: None if change in REMOVABLE.get(table, ()) else "append-only" for table in found}


@pytest.mark.parametrize(
    "forbidden",
    [
        "CREATE TABLE ledger.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON ledger.events",
        "SET session_replication_role = replica",
        "UPDATE ledger.head SET origin = 'another'",
        "UPDATE ledger.customer_keys SET key_version = 2",
        "DELETE FROM projection.versions",
        "DELETE FROM public.ledger_migrations",
        "SET ROLE postgres",
    ],
)
def test_no_role_makes_room_for_itself(log: Log, role: str, forbidden: str) -> None:
    with (
        psycopg.connect(as_role(log.url, role), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(forbidden.encode())


def test_an_owner_who_may_not_make_roles_migrates_where_they_are(postgres_url: str, tmp_path: Path) -> None:
    parts = urlsplit(postgres_url)
    owned = parts._replace(netloc=f"shopkeeper@{parts.netloc.rpartition('@')[2]}", path="/ledger_shop").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE shopkeeper LOGIN")
        connection.execute("CREATE DATABASE ledger_shop OWNER shopkeeper")
        try:
            for _ in range(2):
                migrate(owned)
                install(owned)
            log = Log(owned, tmp_path)
            with Ledger.open(log.settings, clock=lambda: log.now) as ledger:
                told(ledger, make(1))
            log.check_clean(1)
        finally:
            connection.execute("DROP DATABASE ledger_shop WITH (FORCE)")
            connection.execute("DROP ROLE shopkeeper")


def test_an_auditor_does_not_read_the_log_and_its_keys(log: Log) -> None:
    with psycopg.connect(as_role(log.url, "ledger_auditor"), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM audit.outstanding_promises").fetchone() is not None
        for table, _ in tables(log.url):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(SQL("SELECT FROM ledger.{}").format(Identifier(table)))


def test_the_ledger_appends_as_appender_and_the_runner_reads_as_projector(log: Log) -> None:
    settings = log.settings.model_copy(update={"database_url": as_role(log.url, "ledger_appender")})
    with Ledger.open(settings, clock=lambda: log.now) as ledger:
        assert [answer["status"] for answer in told(ledger, make(50), claim(50))] == ["recorded", "recorded"]
        assert told(ledger, make(51, command_id="m-50"))[0]["code"] == "id-reused"
    Runner(as_role(log.url, "ledger_projector"), log.secrets).catch_up()
    assert log.ask("SELECT fulfilment FROM audit.outstanding_promises WHERE promise_id = 'P-50'") == [("claimed",)]
    assert log.verify().problem is None


def test_the_eraser_purges_texts_and_no_other_report(log: Log) -> None:
    Runner(as_role(log.url, "ledger_projector"), log.secrets).catch_up()
    with connect(as_role(log.url, "ledger_eraser"), "test") as connection:
        with connection.transaction(force_rollback=True):
            assert texts.purge(connection, "C-1") > 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM read_promises_v1.promises")


def test_a_service_never_runs_as_the_owner(log: Log) -> None:
    with pytest.raises(SetupError, match="may change the log: give LEDGER_DATABASE_URL a user of the role"):
        refuse_others(log.url)
    refuse_others(as_role(log.url, "ledger_appender"))
    refuse_others(as_role(log.url, "ledger_projector"))


@pytest.mark.parametrize(
    ("has", "named"),
    [
        ("ledger_relay", "names ledger_relay, who has ledger_relay$"),
        ("ledger_auditor", "names anna, who has ledger_auditor$"),
    ],
)
def test_a_service_under_another_role_says_which_it_needs_and_has(has: str, named: str, log: Log) -> None:
    with pytest.raises(SetupError, match="needs a database user of the role ledger_appender, .* " + named):
        refuse_others(as_role(log.url, has), "ledger_appender")
    refuse_others(as_role(log.url, has), has)


@pytest.mark.parametrize("part", ["intake", "projections", "relay"])
def test_each_part_asks_for_its_own_role(part: str, log: Log) -> None:
    environment = os.environ | {
        "LEDGER_DATABASE_URL": as_role(log.url, "ledger_eraser"),
        "LEDGER_BROKER_URL": "nats://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "deploy.cli", "serve", part]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert f"needs a database user of the role {SERVICES[part]}, " in ended.stderr
