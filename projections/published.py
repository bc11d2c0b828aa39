"""The policies and calendars that the log holds, for what reckons with them as of when something was promised."""

from bisect import insort
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import Cursor

from ledger.domain.calendars import Calendar
from ledger.domain.deadlines import DEFAULT_WARN_PERCENTS
from ledger.domain.policies import CalendarPublished, PolicyPublished, PublishedCalendar, evolve, in_effect
from ledger.domain.promise_state import Promise
from ledger.storage.entries import StoredEntry, decode
from ledger.storage.sql import queries

_SQL = queries(Path(__file__).with_suffix(".sql"))


def reckoned_otherwise(calendars: Iterable[PublishedCalendar], running: str) -> list[str]:
    """One sentence for each calendar whose last version was published with another tzdata than the one `running`.

    Both are versions of the IANA database, such as 2026a. No due time changes by it: each was resolved once.
    """
    return [
        f"calendar {each.calendar_id} was published with tzdata {said}, and this ledger reckons with {running}: see "
        f"whether {each.versions[-1].rules.time_zone} changed, and publish it again with {running}"
        for each in calendars
        if (said := each.versions[-1].tzdata_version) != running
    ]


class _Version(NamedTuple):
    """One version of a policy, and where the log has it."""

    leaf_index: int
    said: PolicyPublished


class Published:
    """Every version of every policy and calendar among the first leaves of a log."""

    def __init__(self) -> None:
        self._versions: list[_Version] = []  # of all policies, in the order in which they take effect
        self._calendars: dict[str, PublishedCalendar] = {}

    @classmethod
    def read(cls, cursor: Cursor[Any], stop: int) -> "Published":
        """Those of the leaves before `stop`."""
        published = cls()
        for leaf_index, topic, state in cursor.execute(_SQL["published"], {"stop": stop}).fetchall():
            published.add(decode(leaf_index, topic, bytes(state)))
        return published

    def add(self, entry: StoredEntry) -> None:
        """Take in the next entry of the log; those of other kinds change nothing."""
        event = entry.event
        if isinstance(event, PolicyPublished):
            insort(self._versions, _Version(entry.leaf_index, event), key=lambda each: each.said.effective_from)
        elif isinstance(event, CalendarPublished):
            calendar = evolve(self._calendars.get(event.calendar_id), event, entry.happened)
            assert isinstance(calendar, PublishedCalendar)
            self._calendars[event.calendar_id] = calendar

    def policy_of(self, promise: Promise, made_leaf_index: int) -> PolicyPublished | None:
        """The policy that the promise was made under, None before the first: what was published later is not it."""
        known = [each.said for each in self._versions if each.leaf_index < made_leaf_index]
        index = in_effect([each.effective_from for each in known], promise.made_at)
        return None if index is None else known[index]

    def calendar_of(self, promise: Promise) -> Calendar | None:
        """The rules that the promise's due time is counted by; None where it is due at a moment."""
        if promise.calendar_id is None:
            return None
        assert promise.calendar_version is not None
        return self._calendars[promise.calendar_id].versions[promise.calendar_version - 1].rules

    def calendar_state(self, stream: str) -> PublishedCalendar | None:
        """The calendar whose stream that is; None of any other stream."""
        kind, _, calendar_id = stream.partition(":")
        return self._calendars.get(calendar_id) if kind == "calendar" else None

    def calendars(self) -> tuple[PublishedCalendar, ...]:
        """Every calendar with all its versions, by id."""
        return tuple(self._calendars[calendar_id] for calendar_id in sorted(self._calendars))


def warn_percents(policy: PolicyPublished | None) -> tuple[int, ...]:
    """The percentages of that policy, or those of none."""
    return DEFAULT_WARN_PERCENTS if policy is None else policy.warn_percents
