"""A log as it was before an attack, and a superuser who attacks it: who has everything but the signing key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from ledger.verification.log import verify
from ledger.verification.report import Report
from tests.storage.log import Log, claim, copied, make, submission, tell, told

SIZE = 612
COLUMNS = {
    "head": ("log", "origin", "size", "frontier", "recorded_at", "mac"),
    "events": ("notification_id", "originator_id", "originator_version", "topic", "state", "leaf_hash"),
    "inbox": ("source", "command_id", "digest", "leaf_index", "events"),
    "sealed": ("leaf_index", "customer_id", "key_version", "ciphertext"),
    "customer_keys": ("customer_id", "key_version", "wrapped", "created_at", "destroyed_at"),
    "tiles": ("level", "index", "hashes"),
    "checkpoints": ("size", "note", "stored_at"),
    "witnessed": ("size", "note", "stored_at"),
    "timestamps": ("size", "note", "response", "stored_at"),
}


@dataclass(frozen=True)
class Backup:
    """A log of SIZE events as it was before the attack: the database, keys and guard, and two checkpoints kept."""

    url: str
    log: Log
    early: bytes
    newest: bytes


@contextmanager
def backed_up(template_url: str, data_dir: Path) -> Iterator[Backup]:
    with copied(template_url, "ledger_tampering") as url:
        log = Log(url, data_dir)
        with log.open() as ledger:
            notes = []
            for start in range(0, 400, 100):
                told(ledger, *(make(number) for number in range(start, start + 100)))
                log.now += timedelta(seconds=2)
                told(ledger, *(claim(number) for number in range(start, start + 20)))
                told(ledger, *(tell(number) for number in range(start, start + 15)))
                notes.append(log.guard_note())
            told(
                ledger,
                *(submission("promise.verify", f"no-{n}", promise_id="P-none", verified_by="u-2") for n in range(12)),
            )
            log.now += timedelta(seconds=2)
        log._opened.clear()
        with psycopg.connect(log.url) as connection:  # cosigned by nobody, which is for the policy to judge
            connection.execute("INSERT INTO ledger.witnessed SELECT * FROM ledger.checkpoints ORDER BY size LIMIT 3")
            connection.execute(
                "INSERT INTO ledger.timestamps"
                " SELECT size, note, '\\x0102', stored_at FROM ledger.witnessed WHERE size > 0"
            )
        assert log.ask("SELECT count(*) FROM ledger.events") == [(SIZE,)]
        note = log.guard_note()
        assert note is not None
        assert notes[0] is not None
        yield Backup(log.url, log, notes[0], note)


class Attack:
    """The log under attack: a superuser's connection, and the verification afterwards.

    Triggers are off and every constraint is dropped: whoever owns the database is not stopped by what its schema says.
    """

    def __init__(self, backup: Backup) -> None:
        self.backup = backup
        self.url = backup.url
        self.sql: Connection[Any] = psycopg.connect(self.url, autocommit=True)
        self.sql.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        self.run("DROP INDEX ledger.events_stream, ledger.sealed_customer")
        for table in ("checkpoints", "witnessed", "timestamps"):
            self.run(f"DROP INDEX ledger.{table}_of_a_log")
        self.run("CREATE SCHEMA saved")
        for table in COLUMNS:
            self.run(f"CREATE TABLE saved.{table} AS TABLE ledger.{table}")
            for (name,) in self.run(
                "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'", f"ledger.{table}"
            ):
                drop = SQL("ALTER TABLE {} DROP CONSTRAINT {}")
                self.sql.execute(drop.format(Identifier("ledger", table), Identifier(name)))

    def undo(self) -> None:
        """The log as it was before."""
        with self.sql.transaction():
            for table in COLUMNS:
                self.run(f"TRUNCATE ledger.{table}")  # what is deleted would be read past by every later check
                self.run(f"INSERT INTO ledger.{table} TABLE saved.{table}")

    def run(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.sql.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def forget_checkpoints(self, size: int) -> None:
        """Delete every stored checkpoint over more than `size` events, the witnessed ones as well."""
        for table in ("checkpoints", "witnessed", "timestamps"):
            self.run(f"DELETE FROM ledger.{table} WHERE size > %s", size)

    def verify(self, **changed: Any) -> Report:
        log = self.backup.log
        arguments: dict[str, Any] = {
            "vkey": log.vkey,
            "guard": lambda: self.backup.newest,
            "key_encryption_key": log.secrets.kek,
            "digest_key": log.secrets.digest,
        }
        return verify(self.url, **arguments | changed)

    def found(self, **changed: Any) -> tuple[str, int | None]:
        """(table, leaf) of what verify names first."""
        problem = self.verify(**changed).problem
        assert problem is not None, "nothing was found"
        return problem.table, problem.leaf_index
