"""The keys that sign a log over time, as the log itself names them (`log.key_rotated`), and the range of each."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Cursor

from ledger.domain.log_keys import LogKeyRotated
from ledger.key_provider import KeyProblem
from ledger.storage.entries import MalformedEntry, decode
from ledger.storage.sql import QUERIES
from ledger.tlog.errors import Malformed
from ledger.tlog.note import Verifier


class Rotation(NamedTuple):
    """One rotation on record."""

    leaf_index: int
    recorded_at: datetime
    old: Verifier
    new: Verifier

    @property
    def size(self) -> int:
        """What the checkpoint covers that both keys signed: the last of the old one, the first of the new one."""
        return self.leaf_index + 1


class KeyRange(NamedTuple):
    """A key, and the sizes of the checkpoints that it may sign: `first` to `last`, None where it is in use."""

    verifier: Verifier
    first: int
    last: int | None

    def has(self, size: int) -> bool:
        return self.first <= size and (self.last is None or size <= self.last)


def key_ranges(rotations: Sequence[Rotation]) -> list[KeyRange]:
    """Every key that `rotations`, in the order of the log, name, the oldest first; none where there was no rotation.

    A log that goes on as another one (`recover anew`) names its first key nowhere: that one has no range here.
    """
    first: dict[Verifier, int] = {}
    last: dict[Verifier, int] = {}
    for each in rotations:
        first.setdefault(each.old, 0)
        last.setdefault(each.old, each.size)
        first.setdefault(each.new, each.size)
    return [KeyRange(verifier, since, last.get(verifier)) for verifier, since in first.items()]


def verifier_at(rotations: Sequence[Rotation], size: int, newest: Verifier) -> Verifier:
    """The key of the log that `newest` signs now for checkpoints of `size`; where two may sign, the later one."""
    found = [each.verifier for each in key_ranges(rotations) if each.verifier.name == newest.name and each.has(size)]
    return found[-1] if found else newest


def read_rotations(cursor: Cursor[Any]) -> list[Rotation]:
    """Every rotation, in order. Bytes that are no entry, or name no key, are passed over: they verify nothing."""
    found = []
    for leaf_index, topic, state in cursor.execute(QUERIES["recoveries"]).fetchall():
        try:
            entry = decode(leaf_index, topic, bytes(state))
            if isinstance(said := entry.event, LogKeyRotated):
                old, new = Verifier.parse(said.old_vkey), Verifier.parse(said.new_vkey)
                found.append(Rotation(leaf_index, entry.happened.recorded_at, old, new))
        except (MalformedEntry, Malformed):
            continue
    return found


def last_rotation(rotations: Iterable[Rotation], origin: str) -> Rotation | None:
    """The newest one of the log `origin`; those of logs that it goes on from have other names."""
    return next((each for each in reversed([*rotations]) if each.new.name == origin), None)


def refuse_replaced(cursor: Cursor[Any], verifier: Verifier) -> None:
    """Raises KeyProblem where the log says that another key than this one signs it now. Under the head lock nobody can
    rotate meanwhile, so nothing is appended, and no larger checkpoint signed, under a key that was replaced.
    """
    last = last_rotation(read_rotations(cursor), verifier.name)
    if last is not None and last.new != verifier:
        raise KeyProblem(
            f"the log's key was rotated at leaf {last.leaf_index}: {last.new.vkey} signs from there on, and the key "
            f"here is {verifier.vkey}. Where the rotation broke off `promise-ledger keys rotate-log` finishes it; "
            "elsewhere put the new key in place"
        )


__all__ = ["KeyRange", "Rotation", "key_ranges", "last_rotation", "read_rotations", "refuse_replaced", "verifier_at"]
