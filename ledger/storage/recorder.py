"""The recorder: eventsourcing's PostgreSQL recorder with a head row as lock, dense leaf indexes and a hash tree.

Replaces `insert_events` whole: the library's own hooks commit even when they raise, its EXCLUSIVE table lock cannot be
granted to an append-only role, and its serial column leaves gaps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from eventsourcing.persistence import ProgrammingError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier

from ledger.erasure.keyring import NewKey
from ledger.key_provider import KeyProblem
from ledger.mac import hmac_sha256, keyed
from ledger.storage.entries import MalformedEntry, decode
from ledger.storage.signer import RECOVER, Fork
from ledger.storage.sql import QUERIES
from ledger.storage.tree import RightEdge, TileRow
from ledger.tlog.errors import MalformedFrontier
from ledger.tlog.merkle import Extension, Frontier, leaf_hash

SCHEMA = "ledger"
CHANNEL = "events"
_NO_LOG = (
    "this database holds no ledger: `promise-ledger migrate` begins one, and `promise-ledger recover` says what can be "
    "done where there was one"
)


class NoLog(RuntimeError):
    """The database holds no ledger yet: `promise-ledger migrate` creates it."""


# Columns and their types, as COPY sends them.
_EVENTS = {
    "notification_id": "int8",
    "originator_id": "text",
    "originator_version": "int8",
    "topic": "text",
    "state": "bytea",
    "leaf_hash": "bytea",
}
_INBOX = {"source": "text", "command_id": "text", "digest": "bytea", "leaf_index": "int8", "events": "int2"}
_KEYS = {"customer_id": "text", "key_version": "int4", "wrapped": "bytea", "created_at": "timestamptz"}
_SEALED = {"leaf_index": "int8", "customer_id": "text", "key_version": "int4", "ciphertext": "bytea"}
_TILES = {"level": "int2", "index": "int8", "hashes": "bytea"}


@dataclass(frozen=True, slots=True)
class Head:
    """The committed end of the log."""

    size: int
    frontier: Frontier
    recorded_at: datetime
    authentic: bool
    """Whether somebody with the keys of this log wrote it. Who may write to the database cannot make it so."""


class EventRow(NamedTuple):
    """One row of ledger.events without its number: stream, version from 1, topic, entry bytes."""

    stream: str
    version: int
    topic: str
    state: bytes


class InboxRow(NamedTuple):
    """Which command became which events: `leaf_index` is the first of `events` many."""

    source: str
    command_id: str
    digest: bytes
    leaf_index: int
    events: int


class SealedRow(NamedTuple):
    """The sealed personal members of the event at `leaf_index`."""

    leaf_index: int
    customer_id: str
    key_version: int
    ciphertext: bytes


Authenticate = Callable[[int, bytes, datetime], bytes]
"""The MAC of a head: size, frontier, recorded_at."""


def authenticator(digest_key: bytes) -> Authenticate:
    """MACs of heads, under a key derived from one that is not in the database."""
    mac = keyed(hmac_sha256(digest_key, b"promise-ledger/head/v1"))
    return lambda size, frontier, recorded_at: mac(f"{size}|{recorded_at.isoformat()}|".encode() + frontier)


def refuse_another_digest_key(cursor: Cursor[Any], authenticate: Authenticate) -> None:
    """Raises KeyProblem where the head was written under another digest key than the one of `authenticate`: every
    command that is sent again would be refused as another one. A time that somebody wrote into the head says nothing.
    """
    head = cursor.execute(QUERIES["read_head"]).fetchone()
    if head is None or head[-1] is None:
        return
    size, hashes, mac = head[0], head[1], head[-1]
    last = cursor.execute(QUERIES["entries"], {"ids": [size]}).fetchone()
    if last is None or hashes is None:
        return
    try:
        recorded_at = decode(last[0], last[1], bytes(last[2])).happened.recorded_at
    except MalformedEntry:  # `verify` names it
        return
    if mac != authenticate(size, hashes, recorded_at):
        raise KeyProblem(
            "the key `digest` is not the one that this log is written under (`promise-ledger keys list`), or somebody "
            "changed the mark in the log's head: put back the `digest` of this log; where that is here, restore the "
            "newest backup of the database"
        )


class Append:
    """One append under the head lock. Everything written here is committed together, or not at all."""

    def __init__(self, cursor: Cursor[Any], head: Head, edge: RightEdge, authenticate: Authenticate | None) -> None:
        self._authenticate = authenticate
        self.cursor = cursor
        self.head = head
        self.edge = edge
        self.extension: Extension | None = None

    def ask(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        """The rows of one named query, as tuples."""
        return self.cursor.execute(QUERIES[name], parameters, prepare=True).fetchall()

    def write(
        self,
        events: Sequence[EventRow],
        *,
        recorded_at: datetime,
        inbox: Sequence[InboxRow] = (),
        sealed: Sequence[SealedRow] = (),
        keys: Sequence[NewKey] = (),
    ) -> Extension:
        """Insert `events` as the next leaves, extend the tree, move the head. Once an append; before the commit.

        Crash anywhere in here: the transaction is gone as a whole and the commands are delivered again.
        """
        assert self.extension is None, "an append writes once"
        size = self.head.size
        cursor = self.cursor
        leaves = [leaf_hash(row.state) for row in events]
        numbered = enumerate(zip(events, leaves, strict=True), size + 1)
        self._copy("events", _EVENTS, ((number, *row, leaf) for number, (row, leaf) in numbered))
        self._copy("inbox", _INBOX, inbox)
        self._copy("customer_keys", _KEYS, ((key.customer_id, key.version, key.wrapped, recorded_at) for key in keys))
        self._copy("sealed", _SEALED, sealed)
        self.extension = Extension(self.head.frontier, leaves)
        tiles = self.edge.extend(cursor, size, leaves)
        self._copy("tiles", _TILES, tiles)
        self._move(self.extension.frontier, recorded_at)
        cursor.execute(SQL("NOTIFY {}").format(Identifier(CHANNEL)))
        return self.extension

    def put_back(
        self,
        head: Head,
        events: Iterable[tuple[int, EventRow]],
        *,
        inbox: Sequence[InboxRow],
        keys: Sequence[NewKey],
        tiles: Sequence[TileRow],
    ) -> None:
        """The log ends at `head`, with these events (by leaf index) that it had before; the append goes on from there.

        For a recovery, which has checked all of it against what was signed.
        """
        self._copy("events", _EVENTS, ((index + 1, *row, leaf_hash(row.state)) for index, row in events))
        self._copy("inbox", _INBOX, inbox)
        stored = ((key.customer_id, key.version, key.wrapped, head.recorded_at) for key in keys)
        self._copy("customer_keys", _KEYS, stored)
        self._copy("tiles", _TILES, tiles)
        self._move(head.frontier, head.recorded_at)
        self.head = head

    def _move(self, frontier: Frontier, recorded_at: datetime) -> None:
        size, hashes = frontier.size, frontier.to_bytes()
        mac = None if self._authenticate is None else self._authenticate(size, hashes, recorded_at)
        moved = {"size": size, "frontier": hashes, "recorded_at": recorded_at, "mac": mac}
        self.cursor.execute(QUERIES["move_head"], moved, prepare=True)

    def _copy(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert `rows` with one binary COPY, the fastest way in; nothing is sent where there are none."""
        rows = iter(rows)
        first = next(rows, None)
        if first is None:
            return
        statement = SQL("COPY {}.{} ({}) FROM STDIN (FORMAT BINARY)").format(
            Identifier(SCHEMA), Identifier(table), SQL(", ").join(map(Identifier, columns))
        )
        with self.cursor.copy(statement) as copy:
            copy.set_types(list(columns.values()))
            write_row = copy.write_row
            write_row(first)
            for row in rows:
                write_row(row)


class LogRecorder(PostgresApplicationRecorder):
    """Appends to one log, in one order, with its tree. Several may run on one database: the head row is their lock."""

    def __init__(self, datastore: PostgresDatastore, authenticate: Authenticate | None = None) -> None:
        super().__init__(datastore, events_table_name="events")
        self.authenticate = authenticate
        self._edge = RightEdge()

    @contextmanager
    def appending(self) -> Iterator[Append]:
        """One transaction under the head lock; commits when the block ends, rolls back when it raises.

        Raises NoLog where the database holds no ledger, OperationalError (eventsourcing.persistence) where it cannot
        be reached: then nobody can tell whether a commit under way took place, and the inbox answers that later.
        """
        with self.datastore.get_connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=tuple_row)
            append = Append(cursor, self._head(cursor, "lock_head"), self._edge, self.authenticate)
            self._edge = RightEdge()  # what a failed append made of the edge is never used, by no thread
            yield append
        self._edge = append.edge

    def head(self) -> Head:
        """The committed head, without a lock."""
        with self.datastore.get_connection() as connection:
            return self._head(connection.cursor(row_factory=tuple_row), "read_head")

    def origin(self) -> str:
        """The name of this log in its checkpoints. Raises NoLog before `migrate`."""
        try:
            with self.datastore.get_connection() as connection:
                row = connection.cursor(row_factory=tuple_row).execute(QUERIES["read_head"]).fetchone()
        except ProgrammingError as error:
            raise NoLog(_NO_LOG) from error
        if row is None:
            raise NoLog(_NO_LOG)
        return str(row[3])

    def _head(self, cursor: Cursor[Any], query: str) -> Head:
        row = cursor.execute(QUERIES[query]).fetchone()
        if row is None:
            raise NoLog(_NO_LOG)
        size, hashes, at, mac = row[0], row[1], row[2], row[-1]
        try:
            frontier = Frontier.from_bytes(size, hashes)
        except MalformedFrontier as error:
            raise Fork(f"the head of the log has not the hashes of {size} events ({error}): {RECOVER}") from error
        if at is None:
            raise Fork(f"the head of the log does not say when its last event was recorded: {RECOVER}")
        at = at.astimezone(UTC)
        authentic = size == 0 or self.authenticate is None or mac == self.authenticate(size, hashes, at)
        return Head(size, frontier, at, authentic)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append events made elsewhere, as eventsourcing's applications do; the ledger itself uses `appending`.

        Returns their notification ids. Raises IntegrityError where a stream has that version already.
        """
        if kwargs:
            raise ProgrammingError(f"insert_events takes no {', '.join(kwargs)}")
        if not stored_events:
            return []
        rows = [EventRow(str(e.originator_id), e.originator_version, e.topic, e.state) for e in stored_events]
        with self.appending() as append:
            append.write(rows, recorded_at=append.head.recorded_at)
        first = append.head.size + 1
        return list(range(first, first + len(rows)))


class _Datastore(PostgresDatastore):
    """The library's own, but for types that it asks the server for and that no database of ours has."""

    def register_type_adapters(self) -> None:
        """Nothing: they are arguments of the library's functions, in whose place events are copied."""


def open_datastore(url: str, *, pool_size: int = 2, schema: str = SCHEMA) -> PostgresDatastore:
    """eventsourcing's connection pool for `url` (postgresql://…, all of it), with text stream ids."""
    datastore = _Datastore(
        dbname="",
        host="",
        port="",
        user="",
        password="",
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_timeout=30,
        idle_in_transaction_session_timeout=60,
        pre_ping=True,  # or each connection that a restart of the server left dead would fail one append
        schema=schema,
        originator_id_type="text",
    )
    # It takes five parts of an address; what the others ask for (sslmode, sslrootcert, target_session_attrs, a service)
    # has to hold where commands are recorded too.
    datastore.pool.kwargs = {"row_factory": dict_row, **conninfo_to_dict(url)}
    return datastore
