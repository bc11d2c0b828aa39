"""Rows of one snapshot, many at a time, however many there are."""

from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from ledger.storage.sql import QUERIES

PAGE = 1024


def pages(connection: Connection[Any], query: str, **parameters: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a query through a server-side cursor, so that memory stays flat; bytes as bytes."""
    with connection.cursor(name="_".join(["verify", query, *map(str, parameters.values())])) as cursor:
        cursor.execute(QUERIES[query], parameters, binary=True)
        while rows := cursor.fetchmany(PAGE):
            yield from rows
