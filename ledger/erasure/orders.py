"""The erasures that the log orders: from the events of the streams `erasure:…`, and from nothing else."""

from typing import Any

from psycopg import Connection, Cursor

from ledger.domain.erasures import ErasureCompleted, ErasureRequested
from ledger.erasure.order import Order
from ledger.storage.entries import MalformedEntry, decode
from ledger.storage.sql import QUERIES


def orders(connection: Connection[Any] | Cursor[Any]) -> dict[str, Order]:
    """Every erasure in effect, by customer. What is no entry is passed over: `verify` names its leaf."""
    found: dict[str, Order] = {}
    for leaf_index, topic, state in connection.execute(QUERIES["erasures"]).fetchall():
        try:
            entry = decode(leaf_index, topic, state)
        except MalformedEntry:
            continue
        match entry.event:
            case ErasureRequested(customer_id=customer_id):
                found[customer_id] = Order(customer_id, leaf_index, entry.happened.recorded_at, 0)
            case ErasureCompleted(customer_id=customer_id) if customer_id in found:
                order = found[customer_id]
                found[customer_id] = order._replace(completions=order.completions + 1)
    return found
