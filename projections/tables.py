"""Writing many rows at once: binary COPY into a table, or into a staging table and from there over what is there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from types import NoneType
from typing import Any

from psycopg import Cursor, postgres
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.sql import SQL, Composed, Identifier

_COLUMNS = """
SELECT attname, atttypid FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


@dataclass(slots=True)
class Table:
    """A read table of the version in use. Rows are tuples in the order of its columns.

    For one connection, and of no use after a transaction of it that was rolled back.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[int, ...]
    _staged: bool = False

    @classmethod
    def find(cls, cursor: Cursor[Any], name: str) -> "Table":
        """The table of that name on the search path."""
        rows = cursor.execute(_COLUMNS, (name,)).fetchall()
        return cls(name, tuple(row[0] for row in rows), tuple(row[1] for row in rows))

    def insert(self, cursor: Cursor[Any], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows that are not there yet."""
        if rows:
            _copy(cursor, self.name, self.types, rows)

    def upsert(self, cursor: Cursor[Any], key: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, or replace those with the same `key`; no key stands twice in `rows`."""
        if rows:
            self._stage(cursor)
            _copy(cursor, f"incoming_{self.name}", self.types, rows)
            cursor.execute(self._merge(key))

    def _stage(self, cursor: Cursor[Any]) -> None:
        """The staging table is there and empty; made when it is first needed, which for most it never is."""
        staging = Identifier(f"incoming_{self.name}")
        if self._staged:
            cursor.execute(SQL("TRUNCATE pg_temp.{}").format(staging))
            return
        cursor.execute(SQL("DROP TABLE IF EXISTS pg_temp.{}").format(staging))
        cursor.execute(SQL("CREATE TEMPORARY TABLE {} (LIKE {})").format(staging, Identifier(self.name)))
        self._staged = True

    def _merge(self, key: str) -> Composed:
        others = [Identifier(column) for column in self.columns if column != key]
        return SQL("INSERT INTO {} SELECT * FROM pg_temp.{} ON CONFLICT ({}) DO UPDATE SET ({}) = ({})").format(
            Identifier(self.name),
            Identifier(f"incoming_{self.name}"),
            Identifier(key),
            SQL(", ").join(others),
            SQL(", ").join(SQL("EXCLUDED.{}").format(column) for column in others),
        )


class _Array(Dumper):
    """A flat array without nulls, from any sequence: psycopg's own dumper is for lists of any depth, and as slow."""

    format = Format.BINARY
    element_oid: int
    _HEAD, _SIZE, _LENGTH = Struct("!iiI"), Struct("!ii"), Struct("!i")

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        adapters = postgres.adapters if context is None else context.adapters
        self._empty = self._HEAD.pack(0, 0, self.element_oid)
        self._element = adapters.get_dumper_by_oid(self.element_oid, self.format)(NoneType, context)

    def dump(self, obj: Sequence[Any]) -> bytes:
        if not obj:
            return self._empty
        parts: list[Any] = [self._HEAD.pack(1, 0, self.element_oid), self._SIZE.pack(len(obj), 1)]
        for item in obj:
            dumped = self._element.dump(item)
            assert dumped is not None, "an array of ours has no nulls"
            parts += (self._LENGTH.pack(len(dumped)), dumped)
        return b"".join(parts)


_ARRAYS = [
    type(f"_{info.name}Array", (_Array,), {"oid": info.array_oid, "element_oid": info.oid})
    for info in (postgres.types[name] for name in ("text", "int4", "timestamptz"))
]
"""The arrays that read tables have."""


def _copy(cursor: Cursor[Any], table: str, types: Sequence[int], rows: Iterable[Sequence[Any]]) -> None:
    for dumper in _ARRAYS:
        cursor.adapters.register_dumper(None, dumper)
    with cursor.copy(SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(Identifier(table))) as copy:
        copy.set_types(types)
        write_row = copy.write_row
        for row in rows:
            write_row(row)
