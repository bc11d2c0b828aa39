"""How a promise stands by the clock: its turns, taken in the order in which they occurred, whenever they were recorded.

A turn is an event that says from when on it is owed, when it is due, or that we say it is kept. What was recorded late
is taken in its place, so that the same facts give the same answer in whatever order they arrived.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, Protocol

from ledger.domain.lifecycle import Standing, Verification

Turn = Literal[
    "business_time",
    "activated",
    "claimed",
    "disputed",
    "moved",
    "suspended",
    "resumed",
    "shortened",
    "was_owed",
    "was_due",
    "was_latest",
    "was_overdue",
    "was_latched",
    "was_paused",
    "was_claimed",
    "was_claimed_due",
    "was_disputed",
    "was_overdue_by_dispute",
]

IN_BUSINESS_TIME: Final[tuple[Turn, ...]] = ("business_time",)
"""The first turn of a promise that is due in business time: no event, but what it was made as."""


MOST_TURNS: Final = 64
"""Turns at most that a promise keeps: of more, the older half stands for good as it was recorded (`shortened`)."""


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
    def verification(self) -> Verification: ...
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
    """A rescheduling that found it past due and unkept."""

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
    ends_when_claimed: bool  # no verification is required
    overdue_at: datetime | None  # from when on it is overdue, unless a turn comes before; None: it does not run
    latest_due_at: datetime  # the latest of the due times in this cycle
    paused_at: datetime | None = None
    latched: bool = False
    claimed_at: datetime | None = None
    claimed_due_at: datetime | None = None  # when it was due as it was claimed
    disputed_at: datetime | None = None  # the last dispute, which began this cycle
    overdue_by_dispute: bool = False  # nobody could warn of that
    late_moves: list[LateMove] = field(default_factory=list)
    shortened_at: datetime | None = None  # no late move up to then is listed any more

    def take(self, turn: Turn, at: datetime, due_at: datetime) -> bool:
        """Whether the turn may come here by the table of lifecycle.py; where it may, it is taken."""
        match turn:
            case "activated":
                self.owed, self.overdue_at = True, self.due_at
            case "claimed":
                return self._claim(at)
            case "disputed":
                return self._dispute(at)
            case "moved":
                self._move(at, due_at)
            case "suspended":
                return self._suspend(at)
            case "resumed":
                self._resume(due_at)
            case "shortened":
                self.shortened_at = due_at
            case "was_owed":
                self.owed = True
            case "was_due":
                self.due_at = due_at
            case "was_latest":
                self.latest_due_at = due_at
            case "was_overdue":
                self.overdue_at = due_at
            case "was_latched":
                self.latched = True
            case "was_paused":
                self.paused_at, self.overdue_at = due_at, None
            case "was_claimed":
                self.claimed_at, self.overdue_at = due_at, None
            case "was_claimed_due":
                self.claimed_due_at = due_at
            case "was_disputed":
                self.disputed_at = due_at
            case "was_overdue_by_dispute":
                self.overdue_by_dispute = True
        return True

    def _claim(self, at: datetime) -> bool:
        if self.claimed_at is not None or not self.owed:
            return False
        self.claimed_at, self.claimed_due_at, self.overdue_at = at, self.due_at, None
        self.latched = self.latched or (self.paused_at is None and at > self.due_at)
        return True

    def _dispute(self, at: datetime) -> bool:
        if self.claimed_at is None:
            return False
        self.claimed_at, self.claimed_due_at, self.disputed_at = None, None, at
        if self.ends_when_claimed:  # it is active again: no pause is left
            self.paused_at = None
        runs = self.paused_at is None
        self.overdue_by_dispute = self.latched or (runs and self.due_at < at)
        self.overdue_at = at if self.overdue_by_dispute else self.due_at if runs else None
        self.latest_due_at = self.due_at
        return True

    def _move(self, at: datetime, new_due_at: datetime) -> None:
        """In time, the old due time counts no more. Past due it is overdue for good; unless time stands still."""
        running = self.owed and self.claimed_at is None
        if running and self.paused_at is None and at > self.due_at:
            self.latched = True
            self.late_moves.append(LateMove(at, self.due_at, new_due_at))
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
        found = _taken(
            promise, sorted(recorded, key=lambda place: (not _stood(promise.turns[place]), promise.turned_at[place]))
        )
    if found is None or (found.paused_at is None) != (promise.paused_at is None):
        found = _taken(promise, recorded)
        assert found is not None, f"what was recorded does not follow: {promise}"
    return found


def shortened(promise: Turned) -> dict[str, Any]:
    """New turns, where there are more than MOST_TURNS: the older half gives way to what it led to, as recorded."""
    if len(promise.turns) <= MOST_TURNS:
        return {}
    half = len(promise.turns) // 2
    led = _taken(promise, range(half))
    assert led is not None, f"what was recorded does not follow: {promise}"
    begun = [(turn, promise.original_due_at) for turn in IN_BUSINESS_TIME if led.in_business_time]
    stood = [*begun, *_standing_of(led, max(promise.turned_at[:half]))]
    return {
        "turns": (*(turn for turn, _ in stood), *promise.turns[half:]),
        "turned_at": (*(promise.made_at for _ in stood), *promise.turned_at[half:]),
        "turned_due_at": (*(moment for _, moment in stood), *promise.turned_due_at[half:]),
    }


def _standing_of(led: Course, at: datetime) -> Iterator[tuple[Turn, datetime]]:
    """The turns that lead to where `led` is, and what each says."""
    yield "shortened", at
    moments: dict[Turn, datetime | None] = {
        "was_owed": led.due_at if led.owed else None,
        "was_due": led.due_at,
        "was_latest": led.latest_due_at,
        "was_paused": led.paused_at,
        "was_claimed": led.claimed_at,
        "was_claimed_due": led.claimed_due_at,
        "was_disputed": led.disputed_at,
        "was_overdue": led.overdue_at,
        "was_latched": led.due_at if led.latched else None,
        "was_overdue_by_dispute": led.due_at if led.overdue_by_dispute else None,
    }
    yield from ((turn, moment) for turn, moment in moments.items() if moment is not None)


def _stood(turn: Turn) -> bool:
    """Whether it is none that came, but where those came to that were given up."""
    return turn == "shortened" or turn.startswith("was_")


def in_order(promise: Turned) -> bool:
    """Whether its turns came in the order in which they occurred."""
    return all(earlier <= later for earlier, later in pairwise(promise.turned_at))


def going_on(promise: Turned) -> Course:
    """The course of a promise whose turns were taken as recorded, ready for the next: as far as its own moments say."""
    return Course(
        promise.made_at,
        promise.due_at,
        promise.standing != "conditional",
        promise.calendar_id is not None,
        promise.verification == "not_required",
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
    ends_when_claimed = promise.verification == "not_required"
    overdue_at = due_at if owed else None
    so_far = Course(promise.made_at, due_at, owed, in_business_time, ends_when_claimed, overdue_at, due_at)
    for place in places:
        if not so_far.take(promise.turns[place], promise.turned_at[place], promise.turned_due_at[place]):
            return None
    return so_far


def recorded_due_at(promise: Turned) -> datetime:
    """The due time that was recorded last. Commands are decided by it, so that each is decided the same again."""
    return promise.turned_due_at[-1] if promise.turned_due_at else promise.original_due_at
