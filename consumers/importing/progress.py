"""What an unfinished import has done, in a small file: how many rows are confirmed, and what became of them."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from consumers.importing.errors import ImportProblem

MOST_LISTED: Final = 1000
"""Refusals and rejected rows that are listed one by one; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that the ledger said no to. `line` is where its row begins in the file."""

    line: int
    command_id: str
    type: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """`rows` of the import `of` (a digest of file, mapping and key) are confirmed: the ledger answered each command."""

    of: str
    rows: int = 0
    recorded: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()

    def after(self, rows: int, recorded: list[str], refusals: list[Refusal]) -> "Progress":
        """The progress with `rows` confirmed in all; `recorded` are the types of the commands that were."""
        return replace(
            self,
            rows=rows,
            recorded=_counted(self.recorded, recorded),
            refused=_counted(self.refused, [refusal.code for refusal in refusals]),
            refusals=(*self.refusals, *refusals)[:MOST_LISTED],
        )


def _counted(counts: Mapping[str, int], more: list[str]) -> Mapping[str, int]:
    total = dict(counts)
    for name in more:
        total[name] = total.get(name, 0) + 1
    return total


def load_progress(path: Path, of: str) -> Progress:
    """The progress kept in `path`, or none yet. Raises `ImportProblem` where it belongs to another import."""
    try:
        kept: dict[str, Any] = orjson.loads(path.read_bytes())
        progress = Progress(**kept | {"refusals": tuple(Refusal(**each) for each in kept["refusals"])})
    except FileNotFoundError:
        return Progress(of)
    except OSError as error:
        raise ImportProblem(f"The progress file {path} cannot be read: {error.strerror}.") from None
    except (orjson.JSONDecodeError, TypeError, KeyError):
        raise ImportProblem(f"{path} is no progress file of an import: remove it, or name another.") from None
    if progress.of != of:
        raise ImportProblem(
            f"The progress file {path} belongs to another file, mapping or key: remove it to begin anew, "
            "which is safe, or name another."
        )
    return progress


def save_progress(path: Path, progress: Progress) -> None:
    """`path` holds `progress` durably. A crash leaves the one before, whose rows are then sent once more."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(orjson.dumps(asdict(progress)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ImportProblem(f"The progress file {path} cannot be written: {error.strerror}.") from None
