"""Which events go into a pack, and under which checkpoint."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from ledger.storage.sql import queries
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import Malformed
from ledger.tlog.note import Note
from projections.proving import NOT_SIGNED

SQL = queries(Path(__file__).with_suffix(".sql"))


class Wanted(NamedTuple):
    """What is asked for: `value` is the id of a customer, case or promise; `start` and `stop` bound a time."""

    by: Literal["all", "customer", "case", "promise", "from"]
    value: str | None = None
    start: datetime | None = None
    stop: datetime | None = None

    def spelled(self) -> dict[str, Any]:
        """As pack.json says it."""
        if self.by == "from":
            return {"from": spelled(self.start), "to": spelled(self.stop)}
        return {self.by: True if self.value is None else self.value}


@dataclass(frozen=True, slots=True)
class Sample:
    """So many events of the selection, drawn by a seed that the auditor names."""

    count: int
    seed: str


class Selection(NamedTuple):
    """The leaves asked for among the first `size`, over which `note` is; `fixed`: under no other checkpoint."""

    leaves: list[int]
    size: int
    note: str
    fixed: bool


class Cover(NamedTuple):
    """The checkpoint that a pack is under, with the timestamp that it may have."""

    checkpoint: Checkpoint
    note: bytes
    stamp: bytes | None


def select(connection: Connection[Any], wanted: Wanted, size: int | None) -> Selection:
    """What is asked for, under the checkpoint of `size`, or the newest. Raises ExportRefused where there is no such
    checkpoint, and where there is no such event.
    """
    newest = connection.execute(SQL["newest"], {"size": size}).fetchone()
    if newest is None:
        raise ExportRefused("nothing was signed yet" if size is None else f"no checkpoint of {size} events is stored")
    bounds = {"size": newest[0], "from": wanted.start, "to": wanted.stop, "shared": list(verify_pack.SHARED)}
    leaves = [leaf for (leaf,) in connection.execute(SQL[wanted.by], {wanted.by: wanted.value} | bounds)]
    if not leaves:
        raise ExportRefused("no event under the checkpoint is what you asked for")
    return Selection(leaves, newest[0], newest[1], size is not None)


def cover(connection: Connection[Any], found: Selection, last_leaf: int, first: int) -> Cover:
    """The checkpoint over `last_leaf`, of size `first` at least: the newest that others have stamped, else cosigned,
    else the newest of all; the one that was asked for, where one was. Raises ExportRefused where that covers less, or
    cannot be read.
    """
    if last_leaf >= found.size:
        raise ExportRefused(
            f"what says that words were erased or lost is leaf {last_leaf}, after this checkpoint of {found.size} "
            "events: take a later one"
        )
    if found.size < first:
        raise ExportRefused(
            "the checkpoint with which a later key of the log took over is lost, so a pack cannot prove the earlier "
            f"key of the one of {found.size} events: take one of {first} or more"
        )
    bounds = {"size": found.size if found.fixed else None, "last_leaf": last_leaf, "first": first}
    best = connection.execute(SQL["best"], bounds).fetchone()
    note, stamp = (found.note, None) if best is None else best
    try:
        return Cover(Checkpoint.parse(Note.parse(note).text), note.encode(), stamp)
    except Malformed as error:
        raise ExportRefused(f"{NOT_SIGNED}: the checkpoint of {found.size} events: {error}") from error


def ranges(leaves: list[int]) -> list[list[int]]:
    """The leaves, in order, as ranges [first, stop)."""
    found: list[list[int]] = []
    for leaf in leaves:
        if found and found[-1][1] == leaf:
            found[-1][1] = leaf + 1
        else:
            found.append([leaf, leaf + 1])
    return found


def spelled(value: datetime | None) -> str | None:
    """The moment as entries spell it."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
