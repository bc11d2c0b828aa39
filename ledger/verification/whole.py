"""What no single leaf shows: rows that no log has, rows outside it or beside an index, places taken twice, an erasure
over a hold, keys that seal nothing.

Each raises Wrong at the first that is not as it must be.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.errors import CharacterNotInRepertoire

from ledger.domain.holds import HoldLifted, HoldPlaced
from ledger.erasure.keyring import Keyring
from ledger.erasure.order import Order
from ledger.key_provider import WrappingKey
from ledger.storage.entries import MalformedEntry, decode
from ledger.storage.sql import QUERIES
from ledger.verification.pages import pages
from ledger.verification.report import Wrong, connect
from ledger.verification.texts import open_key


@contextmanager
def looked_at_beside(url: str, snapshot: str, size: int, stored: Mapping[str, int]) -> Iterator["Future[None]"]:
    """Ask beside the block, on a connection of its own, what only whole tables show; `stored` is their `stored_rows`.

    The result is there once nothing was found; it raises Wrong otherwise. Leaving the block early ends the questions.
    """
    with connect(url, snapshot) as connection, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(_look, connection, size, stored)
        try:
            yield looking
        finally:
            while not looking.done():
                connection.cancel_safe()
                wait([looking], timeout=0.1)


def _look(connection: Connection[Any], size: int, stored: Mapping[str, int]) -> None:
    no_strays(connection, size)
    told_apart(connection)
    every_row_seen(connection, size, stored)


@contextmanager
def every_text_readable(url: str) -> Iterator[None]:
    """Within the block a stored text that is none is Wrong: PostgreSQL itself never looks at it again."""
    try:
        yield
    except (UnicodeDecodeError, CharacterNotInRepertoire) as unreadable:
        with connect(url) as connection:
            for table, leaf_index, text in pages(connection, "texts"):
                try:
                    text.decode()
                except UnicodeDecodeError as error:
                    sentence = f"no log has such a row: a text is none, {error}"
                    raise Wrong(table, sentence, leaf_index) from unreadable
        raise


def stored_rows(connection: Connection[Any]) -> dict[str, int]:
    """How many rows each table has; each has the values that it must have, so that the other checks can read it."""
    with _scanning(connection, "table"):
        found = connection.execute(QUERIES["stored_rows"]).fetchall()
    for table, _, impossible, leaf_index in found:
        if impossible:
            raise Wrong(table, "no log has such a row: a value is missing, or its place is no place", leaf_index)
    return {table: rows for table, rows, _, _ in found}


def every_row_seen(connection: Connection[Any], size: int, stored: Mapping[str, int]) -> None:
    """Each index leads to every row of its table, and `events` has no row but the `size` events of the log.

    Whoever owns the database can switch an index off while a row is written: each reader then sees what the index that
    it happens to use leads to.
    """
    if stored["events"] != size:
        raise Wrong("events", f"the table has {stored['events']} rows and the log {size} events: an index hides some")
    with _scanning(connection, "index"):
        for table, index, rows in connection.execute(QUERIES["indexed_rows"]).fetchall():
            if rows != stored[table]:
                sentence = (
                    f"the index {index} leads to {rows} of {stored[table]} rows: it was off while one was written"
                )
                raise Wrong(table, sentence)


@contextmanager
def _scanning(connection: Connection[Any], by: str) -> Iterator[None]:
    """Within the block rows are read `by` "table" or "index" alone, whatever the database is set to."""
    with connection.transaction(force_rollback=True):
        connection.execute(QUERIES["scans"], {each: "on" if each == by else "off" for each in ("table", "index")})
        yield


def no_strays(connection: Connection[Any], size: int) -> None:
    """No row may stand outside the log, where no leaf asks for it."""
    for table, leaf_index in connection.execute(QUERIES["strays"], {"size": size}).fetchall():
        raise Wrong(table, "this row lies outside the log", leaf_index)


def told_apart(connection: Connection[Any]) -> None:
    """No place in a stream has two events and no command was decided twice, as where a row was hidden meanwhile."""
    for stream, leaf_index, repeated in connection.execute(QUERIES["misplaced"]).fetchall():
        raise Wrong(
            "events",
            "two events have this place in their stream: one was hidden meanwhile"
            if repeated
            else "the versions of this stream have a gap",
            leaf_index,
            stream,
        )
    for command_id, source, leaf_index in connection.execute(QUERIES["repeated_commands"]).fetchall():
        raise Wrong("inbox", f"command {command_id} of {source} was decided twice: it was hidden meanwhile", leaf_index)
    for table, name in connection.execute(QUERIES["repeated_rows"]).fetchall():
        raise Wrong(table, f"the row of {name} is there twice")


def holds_kept(connection: Connection[Any], erased: Mapping[str, Order]) -> None:
    """No erasure was ordered while a hold stood, as happens where the hold is hidden for a while."""
    standing: dict[str, set[str]] = {}
    streams = [f"hold:{customer_id}" for customer_id in erased]
    for leaf_index, stream, topic, state in connection.execute(QUERIES["holds"], {"streams": streams}).fetchall():
        try:
            event = decode(leaf_index, topic, bytes(state)).event
        except MalformedEntry as error:
            raise Wrong("events", str(error), leaf_index, stream) from error
        if not isinstance(event, HoldPlaced | HoldLifted) or event.stream != stream:
            raise Wrong("events", f"an event of {event.stream} stands in {stream}", leaf_index, stream)
        if leaf_index < erased[event.customer_id].leaf_index:
            holds = standing.setdefault(event.customer_id, set())
            (holds.add if isinstance(event, HoldPlaced) else holds.discard)(event.hold_id)
    for customer_id, holds in standing.items():
        if holds:
            order = erased[customer_id]
            sentence = f"the erasure of {customer_id} was ordered while a hold stood: the hold was hidden meanwhile"
            raise Wrong("events", sentence, order.leaf_index, f"erasure:{customer_id}")


def spare_keys_whole(
    connection: Connection[Any], key_encryption_key: bytes | WrappingKey | None, erased: Mapping[str, Order]
) -> None:
    """A key that seals nothing (its first text was refused) is whole all the same: nobody adds one by hand."""
    keyring = None if key_encryption_key is None else Keyring(key_encryption_key)
    for customer_id, version, wrapped, destroyed_at in pages(connection, "spare_keys"):
        order = erased.get(customer_id)
        if isinstance(problem := open_key(keyring, order, customer_id, version, wrapped, destroyed_at), str):
            raise Wrong("customer_keys", problem)
