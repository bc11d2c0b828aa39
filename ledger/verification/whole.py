"""What no single leaf shows: rows outside the log, places taken twice, an erasure over a hold, keys that seal nothing.

Each raises Wrong at the first that is not as it must be.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from ledger.domain.holds import HoldLifted, HoldPlaced
from ledger.erasure.keyring import Keyring
from ledger.erasure.order import Order
from ledger.key_provider import WrappingKey
from ledger.storage.entries import decode
from ledger.storage.sql import QUERIES
from ledger.verification.leaves import open_key
from ledger.verification.pages import pages
from ledger.verification.report import Wrong


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


def holds_kept(connection: Connection[Any], erased: Mapping[str, Order]) -> None:
    """No erasure was ordered while a hold stood, as happens where the hold is hidden for a while."""
    standing: dict[str, set[str]] = {}
    streams = [f"hold:{customer_id}" for customer_id in erased]
    for leaf_index, topic, state in connection.execute(QUERIES["holds"], {"streams": streams}).fetchall():
        event = decode(leaf_index, topic, bytes(state)).event
        assert isinstance(event, HoldPlaced | HoldLifted)
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
