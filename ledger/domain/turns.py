"""How a promise stands by the clock: its turns, taken in the order in which they occurred, whenever they were recorded.

A turn is an event that says from when on it is owed, when it is due, or that we say it is kept. What was recorded late
is taken in its place, so that the same facts give the same answer in whatever order they arrived.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Protocol

from ledger.domain.lifecycle import Standing

Turn = Literal["business_time", "activated", "claimed", "disputed", "moved", "suspended", "resumed"]

IN_BUSINESS_TIME: Final[tuple[Turn, ...]] = ("business_time",)
"""The first turn of a promise that is due in business time: no event, but what it was made as."""


MOST_OUT_OF_ORDER: Final = 1_000
"""Turns at most that are taken in another order than that of recording: a late one goes through all of them again."""


class Turned(Protocol):
    """What is looked at: a promise.

    Its turns stand side by side, in the order in which they were recorded: what, when, and the due time recorded last.
    """

    @property
    def made_at(self) -> datetime: ...
    @property
    def original_due_at(self) -> datetime: ...
    @property
    def condition_by(self) -> datetime | None: ...
    @property
    def standing(self) -> Standing: ...
    @property
    def due_at(self) -> datetime: ...
    @property
    def latched(self) -> bool: ...
    @property
    def claimed_at(self) -> datetime | None: ...
    @property
    def calendar_id(self) -> str | None: ...
    @property
    def paused_at(self) -> datetime | None: ...
    @property
    def turns(self) -> tuple[Turn, ...]: ...
    @property
    def turned_at(self) -> tuple[datetime, ...]: ...
    @property
    def turned_due_at(self) -> tuple[datetime, ...]: ...


class LateMove(NamedTuple):
    """A rescheduling that found it past due and unkept; `place` among the turns is its name."""

    place: int
    at: datetime
    old_due_at: datetime
    new_due_at: datetime


@dataclass(slots=True)
class Course:
    """Where the turns have led to."""

    made_at: datetime
    due_at: datetime
    owed: bool  # False: conditional
    in_business_time: bool  # until a reschedule names a moment
    overdue_at: datetime | None  # from when on it is overdue, unless a turn comes before; None: it does not run
    latest_due_at: datetime  # the latest of the due times in this cycle
    paused_at: datetime | None = None
    latched: bool = False
    claimed_at: datetime | None = None
    claimed_due_at: datetime | None = None  # when it was due as it was claimed
    disputed_at: datetime | None = None  # the last dispute, which began this cycle
    overdue_by_dispute: bool = False  # nobody could warn of that
    late_moves: list[LateMove] = field(default_factory=list)

    def take(self, place: int, turn: Turn, at: datetime, due_at: datetime) -> bool:
        """Whether the turn may come here by the table of lifecycle.py; where it may, it is taken."""
        match turn:
            case "activated":
                self.owed, self.overdue_at = True, self.due_at
            case "claimed":
                return self._claim(at)
            case "disputed":
                return self._dispute(at)
            case "moved":
                self._move(place, at, due_at)
            case "suspended":
                return self._suspend(at)
            case "resumed":
                self._resume(due_at)
        return True

    def _claim(self, at: datetime) -> bool:
        if self.claimed_at is not None or not self.owed:
            return False
        self.claimed_at, self.claimed_due_at, self.overdue_at = at, self.due_at, None
        self.latched = self.latched or at > self.due_at
        return True

    def _dispute(self, at: datetime) -> bool:
        if self.claimed_at is None:
            return False
        self.claimed_at, self.claimed_due_at, self.disputed_at = None, None, at
        self.overdue_by_dispute = self.latched or self.due_at < at
        self.overdue_at = at if self.overdue_by_dispute else self.due_at
        self.latest_due_at = self.due_at
        return True

    def _move(self, place: int, at: datetime, new_due_at: datetime) -> None:
        """In time, the old due time counts no more. Past due it is overdue for good; unless time stands still."""
        running = self.owed and self.claimed_at is None
        if running and self.paused_at is None and at > self.due_at:
            self.latched = True
            self.late_moves.append(LateMove(place, at, self.due_at, new_due_at))
        elif running and not self.latched:
            self.overdue_at, self.overdue_by_dispute = new_due_at, False
        self.due_at, self.latest_due_at = new_due_at, max(self.latest_due_at, new_due_at)
        self.in_business_time, self.paused_at = False, None

    def _suspend(self, at: datetime) -> bool:
        if self.claimed_at is not None:
            return False
        if self.in_business_time and at < self.due_at:
            self.paused_at, self.overdue_at = max(at, self.made_at), None
        return True

    def _resume(self, new_due_at: datetime) -> None:
        if self.paused_at is None:
            return
        self.paused_at = None
        self.due_at = max(
            self.due_at, new_due_at
        )  # of two pauses each says the due time after those recorded before it
        if self.claimed_at is None:
            self.overdue_at, self.overdue_by_dispute = self.due_at, False


def course(promise: Turned) -> Course:
    """Where its turns led to, in the order in which they occurred.

    Where that order is no life that the table allows (a dispute dated before the claim that it disputes), the moments
    contradict each other, and the order of recording is taken.
    """
    recorded = range(len(promise.turns))
    found = None
    if not in_order(promise):
        found = _taken(promise, sorted(recorded, key=promise.turned_at.__getitem__))
    if found is None or (found.paused_at is None) != (promise.paused_at is None):
        found = _taken(promise, recorded)
        assert found is not None, f"what was recorded does not follow: {promise}"
    return found


def in_order(promise: Turned) -> bool:
    """Whether its turns are taken as they were recorded: they came in order, or there are very many."""
    many = len(promise.turns) > MOST_OUT_OF_ORDER
    return many or all(earlier <= later for earlier, later in pairwise(promise.turned_at))


def going_on(promise: Turned) -> Course:
    """The course of a promise whose turns were taken as recorded, ready for the next: as far as its own moments say."""
    return Course(
        promise.made_at,
        promise.due_at,
        promise.standing != "conditional",
        promise.calendar_id is not None,
        None,
        promise.due_at,
        promise.paused_at,
        promise.latched,
        promise.claimed_at,
    )


def _taken(promise: Turned, places: Sequence[int]) -> Course | None:
    """The course through the turns at these places; None where one of them does not follow."""
    due_at = promise.original_due_at
    owed = promise.condition_by is None
    in_business_time = promise.turns[:1] == IN_BUSINESS_TIME
    so_far = Course(promise.made_at, due_at, owed, in_business_time, due_at if owed else None, due_at)
    for place in places:
        if not so_far.take(place, promise.turns[place], promise.turned_at[place], promise.turned_due_at[place]):
            return None
    return so_far


def recorded_due_at(promise: Turned) -> datetime:
    """The due time that was recorded last. Commands are decided by it, so that each is decided the same again."""
    return promise.turned_due_at[-1] if promise.turned_due_at else promise.original_due_at
