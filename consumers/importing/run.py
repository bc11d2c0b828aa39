"""Import a file: its rows become commands, which go through the queue; resumable, and safe to repeat.

What is sent is decided by file, mapping and key alone, so a repeated command has the id and the content that it had,
and the ledger answers it with its first receipt. A row counts as confirmed only when the ledger has answered all of
its commands; a crash at any point leaves rows that are sent again, never one that is skipped.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from consumers.importing.commands import Mapper, Prepared
from consumers.importing.delivery import Send, deliver
from consumers.importing.errors import BadRow
from consumers.importing.mapping import load_mapping
from consumers.importing.progress import Progress, Refusal, load_progress, save_progress
from consumers.importing.pseudonyms import import_key
from consumers.importing.rejects import Rejection, Rejects
from consumers.importing.rows import CsvFile, Row, check_file
from consumers.importing.sending import through_queue
from ledger.settings import Settings

CHUNK_ROWS: Final = 2000
"""Rows between two notes of the progress; also what is held in memory, unless rows are to be ordered."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows of a file. `recorded` counts by command type, `refused` by code.

    A command that an earlier run had sent counts as recorded as well: its answer is its first receipt, which looks the
    same. `refusals` and `rejections` list the first thousand. `assumptions` are those that the mapping states.
    """

    rows: int
    recorded: Mapping[str, int]
    refused: Mapping[str, int]
    refusals: tuple[Refusal, ...]
    rejected: int
    rejections: tuple[Rejection, ...]
    rejects_file: Path | None
    assumptions: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True where every row could be mapped and every command was recorded."""
        return not self.refused and not self.rejected


def import_file(
    settings: Settings,
    path: Path,
    mapping_path: Path,
    *,
    state: Path | None = None,
    key_file: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    send: Send | None = None,
) -> ImportReport:
    """Send what the mapping makes of the rows in `path`; return what became of them.

    `progress` is called with the rows done and all rows. The progress file (`state`, or one below the data directory)
    exists while the import is unfinished; rejected rows are written beside it. `send` is the queue of `settings`
    unless another is given. Raises `ImportProblem` where the import cannot begin or go on; call it again to go on.
    """
    mapping = load_mapping(mapping_path)
    file = check_file(path, mapping)
    key = import_key(settings.keys_dir, key_file)
    of = _digest(file, mapping_path, key)
    state = state or settings.data_dir / "imports" / f"{path.stem}-{of[:12]}.json"
    done = load_progress(state, of)
    send = send or through_queue(settings)
    mapper = Mapper(mapping, file.header, key)
    with Rejects(state.with_suffix(".rejects.csv"), mapping.csv, file.header) as rejects:
        for first, chunk in _chunks(_in_order(file, mapper, rejects)):
            # Confirmed rows are mapped once more, for their ids and their rejects, and not sent.
            commands = [
                command
                for number, row in enumerate(chunk, first)
                for command in _mapped(row, mapper, rejects)
                if number >= done.rows
            ]
            if first + len(chunk) > done.rows:
                done = deliver(commands, send, done, first + len(chunk))
                save_progress(state, done)
            if progress is not None:
                progress(first + len(chunk), file.rows)
    state.unlink(missing_ok=True)  # last, and after the rejects are in place: a crash before repeats only the mapping
    assumptions = tuple(dict.fromkeys(rule.assumption for rule in mapping.commands if rule.assumption))
    return _report(file, done, rejects, assumptions)


def _digest(file: CsvFile, mapping_path: Path, key: bytes) -> str:
    """What the import is of: another file, mapping or key would send something else."""
    parts = file.sha256, hashlib.sha256(mapping_path.read_bytes()).hexdigest(), hashlib.sha256(key).hexdigest()
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _in_order(file: CsvFile, mapper: Mapper, rejects: Rejects) -> Iterator[Row]:
    """The rows as the mapping orders them; those of one time in the order of the file."""
    if mapper.mapping.rows.order_by is None:
        yield from file
        return
    timed = []
    for row in file:
        try:
            timed.append((mapper.order(row), row.line, row))
        except BadRow as bad:
            rejects.add(row, str(bad))
    yield from (row for _, _, row in sorted(timed))


def _chunks(rows: Iterator[Row]) -> Iterator[tuple[int, list[Row]]]:
    """The rows in chunks, each with the number of its first row, from 0."""
    first = 0
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield first, chunk
        first += len(chunk)


def _mapped(row: Row, mapper: Mapper, rejects: Rejects) -> list[Prepared]:
    """The commands of a row, or none and the row is among the rejects."""
    try:
        return mapper.commands(row)
    except BadRow as bad:
        rejects.add(row, str(bad))
        return []


def _report(file: CsvFile, done: Progress, rejects: Rejects, assumptions: tuple[str, ...]) -> ImportReport:
    return ImportReport(
        rows=file.rows,
        recorded=done.recorded,
        refused=done.refused,
        refusals=done.refusals,
        rejected=rejects.count,
        rejections=tuple(rejects.listed),
        rejects_file=rejects.path if rejects.count else None,
        assumptions=assumptions,
    )
