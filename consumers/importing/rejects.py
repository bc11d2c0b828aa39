"""The rejects file: every row that no command could be made of, as it was, with its line and the reason."""

import csv
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from consumers.importing.mapping import Csv
from consumers.importing.rows import Row

MOST_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that no command could be made of: the line that it begins on, and why."""

    line: int
    reason: str


class Rejects:
    """Written beside its name and put in place on leaving, so that it is whole or not there; none where none is bad.

    The same dialect and columns as the file, and two more in front: once corrected, it can be imported with the same
    mapping. Readable for its owner only, since rows are personal.
    """

    def __init__(self, path: Path, dialect: Csv, header: tuple[str, ...]) -> None:
        self.path = path
        self.count = 0
        self.listed: list[Rejection] = []
        self._dialect = dialect
        self._header = header
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self._open = ExitStack()
        self._writer: Any = None

    def add(self, row: Row, reason: str) -> None:
        """One more rejected row."""
        if self._writer is None:
            self._begin()
        self._writer.writerow((row.line, reason, *row.values))
        self.count += 1
        if len(self.listed) < MOST_LISTED:
            self.listed.append(Rejection(row.line, reason))

    def _begin(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(handle)
        file = self._open.enter_context(
            self._partial.open("w", encoding=self._dialect.encoding, errors="surrogateescape", newline="")
        )
        self._writer = csv.writer(file, delimiter=self._dialect.delimiter, quotechar=self._dialect.quote)
        self._writer.writerow(("import line", "import reason", *self._header))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()
        if self._writer is None:
            return
        if kind is None:
            self._partial.replace(self.path)
        else:
            self._partial.unlink()
