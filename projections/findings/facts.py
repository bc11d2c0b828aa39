"""What the rules work on: they recall and remember, open and close. No clock, no I/O: a store gives the past.

A finding is an interval, [opened_at, closed_at), by the clock of what happened. It is one row with two causes:
`opened_by` is the event that made it (it may open later: when something falls due), `closed_by` the one that closed or
prevented it. Each has its recorded_at, so what was known at any moment follows from the row alone. A finding that was
prevented (`closed_at` <= `opened_at`) is never open; its row stays, because until then it was known to come.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ledger.domain.calendars import later
from ledger.domain.model import Event, Happened
from ledger.domain.policies import in_effect
from ledger.storage.entries import StoredEntry
from projections.findings.records import Dated, Policies, Remembered, Slot
from projections.findings.registry import FINDINGS

Record = TypeVar("Record")

DEFAULT_HOURS: Final = {
    "disclose_within_hours": 24,
    "correct_within_hours": 24,
    "acknowledge_within_hours": 24,
    "address_within_hours": 72,
    "apologise_within_hours": 48,
    "accept_within_hours": 24,
    "verify_within_hours": 168,
    "confirm_within_hours": 72,
    "clear_within_hours": 24,
    "silent_after_hours": 168,
    "neglected_after_hours": 2160,
}
"""What is held against us before any policy was published."""

POLICIES: Final = "policies:all"
REMEMBERED = 100_000
"""Records kept in memory at most from batch to batch: the tables are asked only for those not seen lately."""


@dataclass(slots=True)
class Finding:
    """One row. `number` tells those apart that one event opened."""

    opened_by: int
    number: int
    code: str
    subject: str
    customer_id: str | None
    case_id: str | None
    opened_at: datetime
    opened_recorded_at: datetime
    detail: dict[str, Any]
    closed_at: datetime | None = None
    closed_by: int | None = None
    closed_recorded_at: datetime | None = None


class Closing(NamedTuple):
    """What closes a finding that is stored already."""

    closed_at: datetime
    closed_by: int
    closed_recorded_at: datetime


class Store(Protocol):
    """The past: what was remembered by earlier batches, and the links between things."""

    def load(self, keys: Collection[str]) -> dict[str, Remembered]:
        """What is stored under `keys`; those without anything are left out."""
        ...

    def link(self, kind: str, source: str, target: str, leaf_index: int) -> None:
        """Remember that `target` hangs on `source`."""
        ...

    def targets(self, kind: str, sources: Collection[str]) -> list[str]:
        """What hangs on any of `sources`, in the order of linking."""
        ...

    def downstream(self, kind: str, source: str) -> list[str]:
        """What hangs on `source`, directly or through others, each once and never `source` itself."""
        ...


class Facts:
    """One entry at a time: `begin`, then the rules. In the end `opened`, `closed` and `changed` are to be stored."""

    happened: Happened
    leaf_index: int
    personal: bool  # the entry has personal texts, whichever they are
    outstanding: int  # by how many promises more, or fewer, are outstanding
    outstanding_since: datetime

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Remembered] = {}
        self.opened: dict[tuple[int, int], Finding] = {}
        self.closed: dict[tuple[int, int], Closing] = {}
        self.changed: dict[str, int] = {}  # by key the last entry that did

    def settle(self) -> None:
        """Forget what is to be stored: it is. Afterwards the memory is bounded."""
        self.opened, self.closed, self.changed = {}, {}, {}
        if len(self._known) > REMEMBERED:
            self._known.clear()

    def begin(self, entry: StoredEntry) -> None:
        """Turn to this entry."""
        self.happened = entry.heading.happened
        self.at = self.happened.occurred_at
        self.leaf_index = entry.leaf_index
        self.personal = entry.personal is not None
        self._case_id = entry.heading.case_id
        self._numbers = 0
        self.outstanding, self.outstanding_since = 0, self.at

    @property
    def dated(self) -> Dated:
        """When it happened, and this entry."""
        return self.at, self.leaf_index

    def prefetch(self, keys: Iterable[str]) -> None:
        """Load what is stored under `keys` in one go; the rest of them is known to be empty."""
        missing = [key for key in keys if key not in self._known]
        if missing:
            found = self._store.load(missing)
            for key in missing:
                self._known[key] = found.get(key) or Remembered()

    def _entry(self, key: str) -> Remembered:
        known = self._known.get(key)
        if known is None:
            self.prefetch((key,))
            known = self._known[key]
        return known

    def all(self, key: str) -> Remembered:
        """Everything under `key`, to be stored."""
        return self._entry(key)

    def recall(self, key: str, kind: type[Record]) -> Record | None:
        """The record under `key`."""
        state = self._entry(key).state
        assert state is None or isinstance(state, kind), key
        return state

    def remember(self, key: str, state: Any) -> None:
        """Put `state` under `key`; the first case named with it stays its case."""
        known = self._entry(key)
        known.state = state
        if known.case_id is None:
            known.case_id = self._case_id
        self.changed[key] = self.leaf_index

    def slot(self, key: str, code: str) -> Slot | None:
        """The finding of that code under `key` that is not closed."""
        return self._entry(key).open.get(code)

    def open(
        self,
        key: str,
        code: str,
        at: datetime,
        *,
        subject: str | None = None,
        customer_id: str | None = None,
        detail: dict[str, Any] | None = None,
        earliest: bool = False,
        slot: str | None = None,
    ) -> None:
        """A finding opens at `at`, which may lie ahead; nothing happens where `key` has one of that code already.

        `earliest`: one that opens later gives way to it, for its cause was recorded before that of this one.
        Of a code that `key` may have several of, each is in a `slot` of its own, by whose name it is closed.
        """
        known, name = self._entry(key), slot or code
        there = known.open.get(name)
        if there is not None and earliest and at < there.opened_at:
            self.close(key, name, at=there.opened_at)
        if name not in known.open:
            number = self._add(subject or key, code, at, customer_id, detail, known.case_id)
            known.open[name] = Slot(self.leaf_index, number, at)
            self.changed[key] = self.leaf_index

    def _add(
        self,
        subject: str,
        code: str,
        at: datetime,
        customer_id: str | None,
        detail: dict[str, Any] | None,
        case_id: str | None,
    ) -> int:
        assert code in FINDINGS, code
        number, self._numbers = self._numbers, self._numbers + 1
        self.opened[self.leaf_index, number] = Finding(
            self.leaf_index,
            number,
            code,
            subject,
            customer_id,
            case_id or self._case_id,
            at,
            self.happened.recorded_at,
            detail or {},
        )
        return number

    def past(
        self,
        key: str,
        code: str,
        at: datetime,
        closed: Dated,
        *,
        subject: str | None = None,
        customer_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """A finding opened at `at` and was `closed` by an earlier entry, whatever is open under `key` now."""
        number = self._add(subject or key, code, at, customer_id, detail, self._entry(key).case_id)
        self._close(self.leaf_index, number, *closed)

    def over(self, finding: Finding) -> None:
        """A finding that is over already, with its own causes."""
        self.opened[finding.opened_by, finding.number] = finding

    def close(self, key: str, *codes: str, at: datetime | None = None) -> None:
        """Close the findings of those codes under `key`, if there are any: now, or at `at`."""
        self._close_all(key, codes, (at or self.at, self.leaf_index))

    def closed_before(self, key: str, code: str, closing: Dated | None) -> None:
        """What this entry has just opened was closed by an earlier one, if there is any."""
        slot = self.slot(key, code)
        if closing is not None and slot is not None and slot.opened_by == self.leaf_index:
            self._close_all(key, (code,), closing)

    def _close_all(self, key: str, codes: Iterable[str], closing: Dated) -> None:
        known = self._entry(key)
        for code in codes:
            slot = known.open.pop(code, None)
            if slot is not None:
                self.changed[key] = self.leaf_index
                self._close(slot.opened_by, slot.number, *closing)

    def _close(self, opened_by: int, number: int, at: datetime, closed_by: int) -> None:
        """It is known from this entry on."""
        finding = self.opened.get((opened_by, number))
        if finding is None:
            self.closed[opened_by, number] = Closing(at, closed_by, self.happened.recorded_at)
        else:
            finding.closed_at, finding.closed_by = at, closed_by
            finding.closed_recorded_at = self.happened.recorded_at

    def link(self, kind: str, source: str, target: str) -> None:
        """Remember that `target` hangs on `source`."""
        self._store.link(kind, source, target, self.leaf_index)

    def targets(self, kind: str, *sources: str) -> list[str]:
        """What hangs on any of `sources`, each once, in the order of linking."""
        return list(dict.fromkeys(self._store.targets(kind, sources))) if sources else []

    def downstream(self, kind: str, source: str) -> list[str]:
        """What hangs on `source`, directly or through others."""
        return self._store.downstream(kind, source)

    def by(self, name: str, at: datetime) -> datetime:
        """Until when the policy that was in effect at `at` allows it from then on, by the name of one of its times."""
        return later(at, self.limit(name, at))

    def limit(self, name: str, at: datetime) -> timedelta:
        """How long the policy that was in effect at `at` allows, by the name of a time of `policy.publish`."""
        policies = self._entry(POLICIES).state
        hours: Mapping[str, int] = DEFAULT_HOURS
        if policies is not None:
            assert isinstance(policies, Policies)
            index = in_effect(policies.effective_from, at)
            hours = hours if index is None else policies.hours[index]
        return timedelta(hours=hours[name])


Rule = Callable[[Facts, Any], None]
"""What one kind of event means for findings."""

Rules = dict[type[Event], Rule]
