"""Findings as a projection: the rules of fold.py over the log, and what they remember kept in tables beside them."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import orjson
from psycopg import Cursor
from psycopg.types.json import Jsonb

from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.findings import fold
from projections.findings.facts import Closing, Facts, Finding
from projections.findings.records import Customer, Remembered, decode, encode
from projections.findings.registry import FINDINGS
from projections.log import Batch
from projections.tables import Table
from projections.versions import Definition

SQL = queries(Path(__file__).with_name("findings.sql"))
_CUSTOMER = "customer:"
_Rows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
"""Of keys that have no row yet, and of those that have one."""


class Past:
    """What the tables hold, for the rules to recall; nothing is written here."""

    def __init__(self, cursor: Cursor[Any]) -> None:
        self.cursor = cursor

    def load(self, keys: Collection[str]) -> dict[str, Remembered]:
        found = {}
        ids = [key.removeprefix(_CUSTOMER) for key in keys if key.startswith(_CUSTOMER)]
        if ids:
            for row in self.cursor.execute(SQL["tails"], {"ids": " ".join(ids)}, binary=True):
                found[_CUSTOMER + row[0]] = Remembered(Customer(*row), stored=True)
        others = [key for key in keys if not key.startswith(_CUSTOMER)]
        if others:
            for key, value in self.cursor.execute(SQL["remembered"], {"keys": " ".join(others)}, binary=True):
                found[key] = decode(key, value)
        return found

    def targets(self, kind: str, sources: Collection[str]) -> list[str]:
        rows = self.cursor.execute(SQL["targets"], {"kind": kind, "sources": " ".join(sources)}, binary=True)
        return [row[0] for row in rows]

    def downstream(self, kind: str, source: str) -> list[str]:
        return [row[0] for row in self.cursor.execute(SQL["downstream"], {"kind": kind, "source": source}, binary=True)]


class Tables(Past):
    """The store of the rules: what was remembered before this batch, and all links, those of this batch too."""

    def __init__(self, cursor: Cursor[Any]) -> None:
        super().__init__(cursor)
        self._memory = Table.find(cursor, "remembered")
        self._customers = Table.find(cursor, "tails")
        self._links = Table.find(cursor, "links")
        self._linked: list[tuple[str, str, str, int]] = []
        assert self._customers.columns == Customer._fields, "tails has other columns than its record"

    def link(self, kind: str, source: str, target: str, leaf_index: int) -> None:
        self._linked.append((kind, source, target, leaf_index))

    def targets(self, kind: str, sources: Collection[str]) -> list[str]:
        self._write_links()
        return super().targets(kind, sources)

    def downstream(self, kind: str, source: str) -> list[str]:
        self._write_links()
        return super().downstream(kind, source)

    def store(self, facts: Facts) -> None:
        """Write down what the rules remember."""
        self._write_links()
        customers: _Rows = ([], [])
        memory: _Rows = ([], [])
        for key, leaf_index in facts.changed.items():
            known = facts.all(key)
            if key.startswith(_CUSTOMER):
                customers[known.stored].append(known.state)
            else:
                memory[known.stored].append((key, encode(known), leaf_index))
            known.stored = True
        for table, column, (new, there) in (
            (self._customers, "customer_id", customers),
            (self._memory, "key", memory),
        ):
            table.insert(self.cursor, new)
            table.upsert(self.cursor, column, there)

    def _write_links(self) -> None:
        self._links.insert(self.cursor, self._linked)
        self._linked = []


class FindingsFold:
    """Applies the rules to each entry of a batch, then stores what came of it."""

    def __init__(self, cursor: Cursor[Any], _secrets: Secrets | None = None) -> None:
        self._tables = Tables(cursor)
        self._findings = Table.find(cursor, "findings")
        cursor.execute(SQL["stage"])
        self._closings = Table.find(cursor, "closings")
        self._facts = Facts(self._tables)

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        facts, self._tables.cursor = self._facts, cursor
        facts.prefetch(dict.fromkeys(key for entry in batch.entries for key in fold.needs(entry)))
        for entry in batch.entries:
            fold.apply(facts, entry)
        self._findings.insert(cursor, [row_of(finding) for finding in facts.opened.values()])
        self._close(cursor, facts.closed)
        self._tables.store(facts)
        facts.settle()

    def _close(self, cursor: Cursor[Any], closed: dict[tuple[int, int], Closing]) -> None:
        """Write the closings into the rows of earlier batches."""
        if closed:
            cursor.execute(SQL["no_closings"])
            self._closings.insert(cursor, [(*key, *closing) for key, closing in sorted(closed.items())])
            cursor.execute(SQL["row_by_row"])
            cursor.execute(SQL["close"])


def row_of(finding: Finding) -> tuple[Any, ...]:
    """The finding as a row of the table `findings`."""
    last = finding.opened_by if finding.closed_by is None else max(finding.opened_by, finding.closed_by)
    return (
        finding.opened_by,
        finding.number,
        finding.code,
        FINDINGS[finding.code].severity,
        finding.subject,
        finding.customer_id,
        finding.case_id,
        finding.opened_at,
        finding.opened_recorded_at,
        finding.closed_at,
        finding.closed_by,
        finding.closed_recorded_at,
        Jsonb(finding.detail, dumps=_json) if finding.detail else None,
        last,
    )


def _json(detail: Any) -> bytes:
    return orjson.dumps(detail, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


FINDINGS_REPORT = Definition(
    name="findings",
    sql=SQL,
    keys={
        "findings": ("opened_by", "number"),
        "tails": ("customer_id",),
        "remembered": ("key",),
        "links": ("leaf_index", "kind", "source", "target"),
    },
    start=FindingsFold,
    cost=57,
    revision=5,
)
