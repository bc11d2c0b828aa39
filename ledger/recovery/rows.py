"""All rows that entries make, once they are brought back: the log's own, the inbox, tiles and keys. Sealed words cannot
be made from entries; where they are still there they are kept, and `verify` compares them with their commitments.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import Connection

from ledger.domain.erasures import ErasureRequested
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed, NewKey
from ledger.recovery.copies import Missing
from ledger.recovery.evidence import PAGE, NotRecovered
from ledger.storage.entries import StoredEntry, decode
from ledger.storage.recorder import Append, EventRow, Head, InboxRow
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TILE_HEIGHT, TILE_WIDTH, RightEdge, TileRow
from ledger.tlog.merkle import leaf_hash

_LONGEST_COMMAND: Final = 1000
"""More events than any command becomes: so far back the last stored command may have begun."""
BEGINNING_OF_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Restored:
    """What is put back in one transaction; `texts_lost` events had words that are not here."""

    missing: Missing
    recorded_at: datetime
    there: dict[int, bytes] = field(default_factory=dict)
    inbox: list[InboxRow] = field(default_factory=list)
    keys: list[NewKey] = field(default_factory=list)
    buried: list[tuple[str, datetime]] = field(default_factory=list)
    tiles: list[TileRow] = field(default_factory=list)
    texts_lost: int = 0

    def put_back(self, append: Append) -> None:
        """All of it is written, and the append goes on behind it."""
        head = Head(self.missing.size, self.missing.frontier, self.recorded_at, authentic=True)
        append.put_back(head, self._events(), inbox=self.inbox, keys=self.keys, tiles=self.tiles)
        for customer_id, requested_at in self.buried:
            append.cursor.execute(QUERIES["bury_key"], {"customer_id": customer_id, "requested_at": requested_at})

    def _events(self) -> Iterator[tuple[int, EventRow]]:
        for entry, state in self.missing.entries():
            if entry.leaf_index not in self.there:
                heading = entry.heading
                yield entry.leaf_index, EventRow(heading.stream, heading.version, entry.event.TOPIC, state)


def restored(
    connection: Connection[Any], keyring: Keyring, missing: Missing, customers: Iterable[str] = ()
) -> Restored:
    """What `missing` makes of the database, which is read and not changed; `customers` are known as well afterwards.

    Raises NotRecovered where other events stand behind the last whole one, and where a key that is here does not open:
    then keys/kek is not the one of this copy.
    """
    try:
        for customer_id, version, wrapped in connection.execute(QUERIES["all_keys"]).fetchall():
            keyring.open(customer_id, version, wrapped)
    except KeyUnwrapFailed as error:
        raise NotRecovered(
            f"{error}. Where this copy is from before `keys rotate`: give the key-encryption key of its time as the "
            "one before (keys/kek.old), run this again, then `promise-ledger keys rotate`"
        ) from error
    last = _stored_entries(connection, max(0, missing.first - 1), missing.first)
    found = Restored(missing, last[0].happened.recorded_at if last else BEGINNING_OF_TIME)
    found.there = _events_beyond(connection, missing)
    found.tiles = _tiles(connection, missing)
    sealed = {row[0] for row in connection.execute(QUERIES["sealed_beyond"], {"size": missing.first}).fetchall()}
    commands = _Commands(connection, missing.first)
    known = dict.fromkeys(customers)
    erased: dict[str, datetime] = {}
    without: list[str] = []
    for entry, _ in missing.entries():
        commands.take(entry)
        found.recorded_at = entry.happened.recorded_at
        customer_id = entry.event.customer_id
        if isinstance(entry.event, ErasureRequested):
            erased[entry.event.customer_id] = entry.happened.recorded_at
        if entry.personal is not None and customer_id is not None:
            known[customer_id] = None
            if entry.leaf_index not in sealed:
                without.append(customer_id)
    found.inbox = commands.rows()
    found.texts_lost = sum(customer_id not in erased for customer_id in without)
    rows = connection.execute(QUERIES["known_customers"], {"customers": " ".join({**known, **erased})}).fetchall()
    unknown = [customer_id for customer_id in {**known, **erased} if (customer_id,) not in rows]
    found.buried = [(customer_id, erased[customer_id]) for customer_id in unknown if customer_id in erased]
    _, found.keys = keyring.make([customer_id for customer_id in unknown if customer_id not in erased])
    return found


def _stored_entries(connection: Connection[Any], first: int, stop: int) -> list[StoredEntry]:
    rows = connection.execute(QUERIES["range"], {"first": first, "stop": stop}).fetchall()
    return [decode(leaf_index, topic, bytes(state)) for leaf_index, topic, state in rows]


def _events_beyond(connection: Connection[Any], missing: Missing) -> dict[int, bytes]:
    """The hashes of the events that stand behind a gap: they must be the ones that were signed."""
    there = {}
    for leaf_index, state in connection.execute(QUERIES["beyond"], {"size": missing.first}).fetchall():
        there[leaf_index] = leaf_hash(bytes(state))
        if leaf_index >= missing.size or there[leaf_index] != missing.hashes[leaf_index - missing.first]:
            raise NotRecovered(
                f"behind the {missing.first} events without a gap stands another one (leaf {leaf_index}) than was "
                "signed: restore the backup once more, into an empty database"
            )
    return there


def _tiles(connection: Connection[Any], missing: Missing) -> list[TileRow]:
    """The full tiles that reach behind the stored events and are not there."""
    there = set(connection.execute(QUERIES["tiles_there"]).fetchall())
    edge, tiles = RightEdge(), []
    for first in range(0, missing.first, PAGE):
        bounds = {"first": first, "stop": min(first + PAGE, missing.first)}
        stored = connection.execute(QUERIES["range"], bounds).fetchall()
        tiles += edge.grow(first, [leaf_hash(bytes(row[2])) for row in stored])
    tiles += edge.grow(missing.first, missing.hashes)
    return [
        tile
        for tile in tiles
        if (tile.number + 1) * TILE_WIDTH << TILE_HEIGHT * tile.level > missing.first
        and (tile.level, tile.number) not in there
    ]


class _Commands:
    """The inbox as entries tell it: events of one command follow one another."""

    def __init__(self, connection: Connection[Any], first: int) -> None:
        self._first = first
        self._there = {
            (source, command_id, bytes(digest))
            for source, command_id, digest in connection.execute(QUERIES["inbox_beyond"], {"size": first}).fetchall()
        }
        self._rows: list[InboxRow] = []
        for entry in _stored_entries(connection, max(0, first - _LONGEST_COMMAND), first):
            self.take(entry)

    def take(self, entry: StoredEntry) -> None:
        """The next event in the order of the log."""
        heading = entry.heading
        digest = base64.b64decode(heading.command_digest)
        row = InboxRow(heading.happened.source, heading.command_id, digest, entry.leaf_index, 1)
        if self._rows and self._rows[-1][:3] == row[:3]:
            self._rows[-1] = self._rows[-1]._replace(events=self._rows[-1].events + 1)
        else:
            self._rows.append(row)

    def rows(self) -> list[InboxRow]:
        """Those that are not there, of commands that reach behind the stored events."""
        return [row for row in self._rows if row.leaf_index + row.events > self._first and row[:3] not in self._there]
