"""The inbox in step with the log: its rows follow one another without gap, and each names its events' command."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from ledger.storage.sql import QUERIES
from ledger.verification.entries import Entry, Found
from ledger.verification.report import Problem

_Row = tuple[str, str, bytes, int, int]
"""Source, id and digest of a command, the leaf index of its first event, how many it has."""


def inbox_rows(connection: Connection[Any], span: int, stripe: int, stripes: int) -> Iterator[_Row]:
    """The rows whose events touch every `stripes`-th range of `span` leaves, from range `stripe` on, in order."""
    with connection.cursor(name="verify_inbox") as cursor:
        cursor.execute(QUERIES["inbox_stripe"], {"range": span, "stripe": stripe, "stripes": stripes}, binary=True)
        while rows := cursor.fetchmany(span):
            yield from rows


class Inbox:
    """Compares ranges of leaves, in order, with `rows` as `inbox_rows` gives them."""

    def __init__(self, rows: Iterator[_Row], *, shared: bool) -> None:
        self._rows = rows
        self._shared = shared  # the ranges between belong to other checkers
        self._row: _Row = ("", "", b"", 0, 0)

    def check(self, first: int, entries: Sequence[Entry]) -> Found | None:
        """Compare the entries of a range with the rows that cover them."""
        source, command_id, digest, start, events = self._row
        stop = start + events
        for leaf, entry in enumerate(entries, first):
            if leaf >= stop:
                row = next(self._rows, None)
                if row is None:
                    return Found(leaf - first, Problem("inbox", "the row of this command is missing", leaf))
                if (row[3] != leaf or row[4] < 1 or row[1] == command_id) and (wrong := self._wrong(row, leaf, first)):
                    return Found(leaf - first, wrong)
                source, command_id, digest, start, events = self._row = row
                stop = start + events
            if entry.command_id != command_id or entry.source != source or entry.command_digest != digest:
                sentence = f"command {entry.command_id} of {entry.source} is not what the inbox says"
                return Found(leaf - first, Problem("inbox", sentence, start, entry.stream))
        return None

    def left(self) -> Problem | None:
        """After the last range no row may be left: the first that is."""
        for source, command_id, _, start, _ in self._rows:
            return Problem("inbox", f"command {command_id} of {source} is in the inbox and not in the log", start)
        return None

    def _wrong(self, row: _Row, leaf: int, first: int) -> Problem | None:
        """What is wrong with `row` as the next one, which covers `leaf`, in the range from `first` on."""
        source, command_id, _, start, events = row
        # A command whose events began in the range before, which another checker reads, goes on in this one.
        goes_on = self._shared and leaf == first and start < leaf < start + events
        if events < 1 or (start != leaf and not goes_on):
            sentence = f"the row of command {command_id} of {source} is not where the log has it"
            return Problem("inbox", sentence, min(start, leaf))
        if row[:3] == self._row[:3] and start == self._row[3] + self._row[4]:
            return Problem("inbox", f"the row of command {command_id} of {source} was split in two", start)
        return None
