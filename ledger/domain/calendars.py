"""Business time: the working hours of a calendar, counted across nights, breaks, holidays and clock changes.

Pure arithmetic on the rules of one version of a calendar. Working hours are wall time, elapsed time is what is counted:
a stretch of work across a change of the clock is an hour shorter or longer, as for those who work it. A wall time that
the clock skips is the moment of the change. A wall time that comes twice opens at the first and closes at the second;
the end of the day, 24:00, is the first midnight.

The IANA time zones come from the package tzdata alone, whose version is locked: those of the machine may be older, and
differ from host to host.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, reset_tzpath

reset_tzpath(())  # before any zone is loaded: afterwards zoneinfo looks into the package tzdata only

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_NOTHING: Final = timedelta(0)
_LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)
LAST_DAY: Final = date(9998, 12, 31)
"""No calendar is counted beyond it: the last days of 9999 end, by some wall clocks, in no year that there is."""


class NotCovered(Exception):
    """The calendar ends before the question does: its holidays are known until `covers_until` only."""


class Stretch(NamedTuple):
    """One stretch of work, in minutes from midnight by the wall clock; 1440 is the end of the day."""

    start: int
    end: int


class Calendar(NamedTuple):
    """The rules of one version of a calendar."""

    time_zone: str
    week: tuple[tuple[Stretch, ...], ...]  # seven days from Monday, each in order
    holidays: frozenset[date]
    covers_until: date  # the last day whose holidays are known


def elapsed(duration: str) -> timedelta:
    """The time that a `Duration` takes by any clock: a day is 24 hours."""
    found = _DURATION.fullmatch(duration)
    assert found is not None, duration
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


def later(at: datetime, span: timedelta) -> datetime:
    """The moment that lies `span` after `at`, by any clock; where there is no such moment, the last one there is."""
    return at + min(span, _LAST_MOMENT - at)


def week(hours: tuple[str, ...]) -> tuple[tuple[Stretch, ...], ...]:
    """The stretches of each weekday from lines such as `mon 09:00-12:00`; a break is what lies between two.

    Raises ValueError where one ends before it begins, or overlaps another.
    """
    days: list[list[Stretch]] = [[] for _ in WEEKDAYS]
    for line in hours:
        start, end = (int(part[:2]) * 60 + int(part[3:]) for part in line[4:].split("-"))
        days[WEEKDAYS.index(line[:3])].append(Stretch(start, end))
    for stretches in days:
        stretches.sort()
        latest = 0
        for stretch in stretches:
            if stretch.start < latest or stretch.end <= stretch.start:
                raise ValueError(f"{stretch.start // 60:02}:{stretch.start % 60:02} begins no stretch of its own")
            latest = stretch.end
    return tuple(map(tuple, days))


def due_in(calendar: Calendar, start: datetime, duration: str) -> datetime:
    """The moment that lies `duration` of business time after `start`, in UTC.

    Hours and minutes are counted while work goes on. Days are working days: the day of `start` does not count, and the
    last one is over at the close of its work. Raises NotCovered.
    """
    amount = elapsed(duration)
    return _after_days(calendar, start, amount.days) if duration.endswith("D") else add_working(calendar, start, amount)


def add_working(calendar: Calendar, start: datetime, amount: timedelta) -> datetime:
    """The first moment at which `amount` (more than nothing) of working time has passed since `start`.

    Raises NotCovered.
    """
    for begin, end in _working(calendar, start):
        if begin + amount <= end:
            return begin + amount
        amount -= end - begin
    raise NotCovered


def working_between(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """The working time from `start` to `end`; none where `end` comes first. Raises NotCovered."""
    total = _NOTHING
    if end <= start:
        return total
    for opens, closes in _working(calendar, start):
        if opens >= end:
            return total
        total += min(closes, end) - opens
        if closes >= end:
            return total
    raise NotCovered


def _after_days(calendar: Calendar, start: datetime, days: int) -> datetime:
    day = _day_of(calendar, start)
    while day < calendar.covers_until:
        day += _DAY
        stretches = list(_stretches(calendar, day))
        days -= bool(stretches)
        if days == 0:
            return stretches[-1][1]
    raise NotCovered


def _day_of(calendar: Calendar, moment: datetime) -> date:
    if moment.date() > LAST_DAY:
        raise NotCovered
    return moment.astimezone(ZoneInfo(calendar.time_zone)).date()


def _working(calendar: Calendar, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every stretch of work from `start` on, the first one cut, as moments in UTC, until the calendar ends."""
    day = _day_of(calendar, start)
    while day <= calendar.covers_until:
        for begin, end in _stretches(calendar, day):
            if end > start:
                yield max(begin, start), end
        day += _DAY


def _stretches(calendar: Calendar, day: date) -> Iterator[tuple[datetime, datetime]]:
    """The stretches of one day; one that the clock skips altogether is none."""
    if day in calendar.holidays:
        return
    zone = ZoneInfo(calendar.time_zone)
    latest: datetime | None = None
    for stretch in calendar.week[day.weekday()]:
        begin = _moment(zone, day, stretch.start, fold=0)
        end = _moment(zone, day, stretch.end, fold=0 if stretch.end == 24 * 60 else 1)
        if latest is not None:  # two stretches that meet in an hour that comes twice do not count it twice
            begin = max(begin, latest)
        if begin < end:
            yield begin, end
            latest = end


def _moment(zone: ZoneInfo, day: date, minute: int, fold: int) -> datetime:
    """The moment of a wall time: the change of the clock where it is skipped, the `fold`th where it comes twice."""
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None
    assert after is not None
    if before >= after:
        return (wall - (after if fold else before)).replace(tzinfo=UTC)
    low, high = (wall - after).replace(tzinfo=UTC), (wall - before).replace(tzinfo=UTC)
    while high - low > _SECOND:  # the clock changes after `low`, no later than `high`
        middle = low + (high - low) // 2
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == after else (middle, high)
    return high.replace(microsecond=0)
