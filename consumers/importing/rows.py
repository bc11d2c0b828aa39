"""The rows of a CSV file, one at a time, each with the line that it begins on."""

import csv
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from consumers.importing.errors import ImportProblem
from consumers.importing.mapping import Csv, MappingFile


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it begins (the first line of the file is 1) and what stands in it."""

    line: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file that has been read through once, so that nothing is sent of one that breaks in the middle."""

    path: Path
    dialect: Csv
    header: tuple[str, ...]
    rows: int
    sha256: str

    def __iter__(self) -> Iterator[Row]:
        """The rows in the order of the file; empty lines are none."""
        with _opened(self.path, self.dialect) as file:
            rows = _rows(file, self.dialect, self.path)
            next(rows)
            yield from rows


def check_file(path: Path, mapping: MappingFile) -> CsvFile:
    """The file, with its header and the number of its rows. Raises `ImportProblem`.

    Refused as a whole: what cannot be read, a header that lacks a column of the mapping or names one twice, and a
    quote that is wrong or never closed, since nobody knows where the next row begins after that.
    """
    with _opened(path, mapping.csv) as file:
        rows = _rows(file, mapping.csv, path)
        header = next(rows, None)
        count = sum(1 for _ in rows)
    if header is None:
        raise ImportProblem(f"{path}: the file is empty.")
    names = tuple(name.strip() for name in header.values)
    if missing := sorted(mapping.columns() - set(names)):
        raise ImportProblem(f'{path}: the mapping names the column "{missing[0]}", which the file does not have.')
    if twice := {name for name in mapping.columns() if names.count(name) > 1}:
        raise ImportProblem(f'{path}: the file has two columns "{min(twice)}": rename one of them.')
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return CsvFile(path, mapping.csv, names, count, digest)


@contextmanager
def _opened(path: Path, dialect: Csv) -> Iterator[TextIO]:
    encoding = "utf-8-sig" if dialect.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else dialect.encoding
    try:
        # Bytes that are no text in this encoding become surrogates: their row is rejected, the others are not.
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            yield file
    except OSError as error:
        raise ImportProblem(f"{path}: the file cannot be read ({error.strerror}).") from None
    except UnicodeError:
        raise ImportProblem(
            f"{path}: the file is not {dialect.encoding}: correct csv.encoding in the mapping."
        ) from None


def _rows(file: TextIO, dialect: Csv, path: Path) -> Iterator[Row]:
    reader = csv.reader(file, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise ImportProblem(f"{path}: the row that begins on line {line} is not CSV: {error}.") from None
        if values is None:
            return
        if values:
            yield Row(line, tuple(values))
