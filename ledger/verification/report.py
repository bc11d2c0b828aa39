"""What verify says, and the connection it reads through."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import Connection, DataError, IsolationLevel
from psycopg.abc import Buffer
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Literal
from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader

NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""What a moment that no `datetime` can hold is read as (infinity, before Christ): no service of ours wrote it."""

Progress = Callable[[int, int], None]
"""Called with (events done, events in all)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The first wrong place. `table` is where it lies; `leaf_index` and `stream` where they can be named.

    What lies in no table is called "guard" (the fork guard) or "kept" (a checkpoint that the auditor brought).

    Where only a signed root shows it, `leaf_index` is the lowest leaf that may be wrong: all before it are proven.
    """

    table: str
    message: str
    leaf_index: int | None = None
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What verify found. `signed_size` leaves are covered by the log's own signature, the rest is not yet.

    `witnessed_size` leaves are covered by cosignatures that meet the policy's quorum; None where no policy was given.
    `stamped_size` leaves were there at `stamped_at`, by the clock of a timestamp authority; None without its roots.
    """

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    problem: Problem | None
    witnessed_size: int | None = None
    stamped_size: int | None = None
    stamped_at: datetime | None = None
    recoveries: tuple[str, ...] = ()
    """What the log says of its own recoveries, a sentence each."""
    rules_replayed: bool = False
    """Whether every command was decided again; without that only hashes, signatures and rows were compared."""


class Wrong(Exception):
    """Something is not what the entries make it; `problem` says what."""

    def __init__(self, table: str, message: str, leaf_index: int | None = None, stream: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(table, message, leaf_index, stream)


def connect(url: str, snapshot: str | None = None) -> Connection[Any]:
    """A read-only connection whose one transaction sees one state of the database: that of `snapshot`, if given.

    Operators and functions are PostgreSQL's own, whatever search path was set for the database or the role; and it
    lasts as long as a large log takes: others read what it sees, and it waits for them.
    """
    connection = psycopg.connect(url, row_factory=tuple_row)
    read_any_moment(connection)
    connection.execute("SET search_path = pg_catalog")
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET idle_in_transaction_session_timeout = 0")
    connection.commit()
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    if snapshot is not None:
        connection.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(Literal(snapshot)))
    return connection


def exported(connection: Connection[Any]) -> str:
    """The name under which others see what `connection` sees, while its transaction lasts."""
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    return str(row[0])


def read_any_moment(connection: Connection[Any]) -> None:
    """No stored moment stops the reading of a row that somebody bent."""
    connection.adapters.register_loader("timestamptz", _Moment)
    connection.adapters.register_loader("timestamptz", _BinaryMoment)


class _Moment(TimestamptzLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return NEVER


class _BinaryMoment(TimestamptzBinaryLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return NEVER
