"""Business time. Every expected value was worked out by hand; what led to it stands beside it.

Berlin is an hour ahead of UTC in winter, two in summer: the clock goes from 02:00 to 03:00 on 29 March 2026, at 01:00
UTC, and from 03:00 back to 02:00 on 25 October 2026, at 01:00 UTC.
"""

from datetime import date, datetime, timedelta

import pytest

from ledger.domain.calendars import Calendar, NotCovered, add_working, due_in, elapsed, week, working_between

OFFICE = week(
    (
        *(f"{day} {hours}" for day in ("mon", "tue", "wed", "thu") for hours in ("13:00-17:00", "09:00-12:00")),
        "fri 09:00-12:00",
    )
)
EASTER = (date(2026, 4, 3), date(2026, 4, 6))  # Good Friday and Easter Monday
BERLIN = Calendar("Europe/Berlin", OFFICE, frozenset(EASTER), date(2028, 12, 31))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


@pytest.mark.parametrize(
    ("start", "duration", "due", "why"),
    [
        ("2026-03-02 09:00", "PT1H", "2026-03-02 10:00", "Monday, 10 to 11 in Berlin"),
        ("2026-03-02 10:30", "PT1H", "2026-03-02 12:30", "half an hour before the break of 12 to 13, half after it"),
        ("2026-03-02 11:15", "PT30M", "2026-03-02 12:30", "made in the break"),
        ("2026-03-02 15:00", "PT1H", "2026-03-02 16:00", "due at the close of 17:00, not the next morning"),
        ("2026-03-02 15:30", "PT1H", "2026-03-03 08:30", "half an hour until 17:00, half from 9 on Tuesday"),
        ("2026-03-02 05:00", "PT1H30M", "2026-03-02 09:30", "made at 6 in the morning, counted from 9"),
        ("2026-03-02 08:00", "PT14H", "2026-03-03 16:00", "two days of seven hours"),
        ("2026-03-06 10:00", "PT2H", "2026-03-09 09:00", "an hour until Friday's close at 12, an hour on Monday"),
        ("2026-03-07 12:00", "PT120M", "2026-03-09 10:00", "made on a Saturday"),
        ("2026-04-02 14:00", "PT2H", "2026-04-07 08:00", "16 to 17 on Thursday; both holidays; 9 to 10 on Tuesday"),
        (
            "2026-03-27 10:00",
            "PT2H",
            "2026-03-30 08:00",
            "11 to 12 on Friday in winter, 9 to 10 on Monday in summer time",
        ),
        (
            "2026-10-23 09:00",
            "PT2H",
            "2026-10-26 09:00",
            "11 to 12 on Friday in summer, 9 to 10 on Monday in winter time",
        ),
        ("2028-02-28 15:30", "PT1H", "2028-02-29 08:30", "the leap day is a Tuesday"),
        ("2026-03-02 08:00", "P3D", "2026-03-05 16:00", "Tuesday, Wednesday, Thursday: due at its close, 17:00"),
        ("2026-03-02 23:30", "P1D", "2026-03-04 16:00", "made on Tuesday at 00:30 in Berlin: Wednesday"),
        ("2026-03-06 15:00", "P1D", "2026-03-09 16:00", "made on Friday after its close: Monday"),
        ("2026-03-07 12:00", "P1D", "2026-03-09 16:00", "made on a Saturday: Monday"),
        ("2026-03-02 08:00", "P4D", "2026-03-06 11:00", "Friday, which closes at 12"),
        ("2026-04-01 09:00", "P2D", "2026-04-07 15:00", "Thursday; both holidays; Tuesday at 17:00 in summer time"),
        ("2028-02-28 09:00", "P2D", "2028-03-01 16:00", "the leap day, and the first of March"),
    ],
)
def test_due_times_worked_out_by_hand(start: str, duration: str, due: str, why: str) -> None:
    assert due_in(BERLIN, utc(start), duration) == utc(due), why


@pytest.mark.parametrize(
    ("zone", "lines", "start", "duration", "due", "why"),
    [
        (
            "Asia/Kolkata",
            "mon 09:00-17:00",
            "2026-03-02 03:30",
            "PT2H",
            "2026-03-02 05:30",
            "half an hour off: 9 to 11",
        ),
        (
            "Pacific/Auckland",
            "mon 09:00-17:00",
            "2026-02-28 00:00",
            "PT1H",
            "2026-03-01 21:00",
            "made on Saturday at 13:00; Monday 9 to 10 there is still Sunday in UTC",
        ),
        (
            "America/New_York",
            "fri 09:00-17:00, mon 09:00-17:00",
            "2026-03-06 21:00",
            "PT2H",
            "2026-03-09 14:00",
            "16 to 17 on Friday at 5 hours off, 9 to 10 on Monday at 4: the clock went on three weeks before Berlin's",
        ),
        (
            "Europe/Berlin",
            "mon 22:00-24:00, tue 00:00-06:00",
            "2026-03-02 21:00",
            "PT3H",
            "2026-03-03 00:00",
            "a night shift: two hours until midnight, one after it",
        ),
        (
            "Europe/Berlin",
            "sat 00:00-24:00, sun 00:00-24:00",
            "2026-03-29 00:30",
            "PT1H",
            "2026-03-29 01:30",
            "an hour after 01:30: 02:30 is skipped, so it is 03:30",
        ),
        (
            "Europe/Berlin",
            "sat 00:00-24:00, sun 00:00-24:00",
            "2026-10-25 00:30",
            "PT1H",
            "2026-10-25 01:30",
            "an hour after the first 02:30: the second",
        ),
        (
            "Europe/Berlin",
            "sun 00:00-24:00",
            "2026-10-24 12:00",
            "P1D",
            "2026-10-25 23:00",
            "a working day of 25 hours, due at its midnight",
        ),
    ],
)
def test_due_times_elsewhere_and_when_the_clock_changes(
    zone: str, lines: str, start: str, duration: str, due: str, why: str
) -> None:
    calendar = Calendar(zone, week(tuple(lines.split(", "))), frozenset(), date(2028, 12, 31))
    assert due_in(calendar, utc(start), duration) == utc(due), why


def test_a_leap_day_that_is_a_holiday_and_a_february_without_one() -> None:
    closed = BERLIN._replace(holidays=frozenset((date(2028, 2, 29),)))
    # half an hour on Monday the 28th until 17:00, half on Wednesday, the first of March, from 9
    assert due_in(closed, utc("2028-02-28 15:30"), "PT1H") == utc("2028-03-01 08:30")
    assert due_in(closed, utc("2028-02-28 09:00"), "P1D") == utc("2028-03-01 16:00")
    # in 2027 an hour until Friday's close on the 26th of February, an hour on Monday, the first of March
    assert due_in(BERLIN, utc("2027-02-26 10:00"), "PT2H") == utc("2027-03-01 09:00")


@pytest.mark.parametrize(
    ("start", "end", "worked", "why"),
    [
        ("2026-03-02 08:00", "2026-03-02 16:00", 7, "a day without its break"),
        ("2026-03-02 09:00", "2026-03-02 09:45", 0.75, "within one stretch"),
        ("2026-03-02 16:00", "2026-03-03 08:00", 0, "a night"),
        ("2026-03-02 15:00", "2026-03-04 09:00", 9, "16 to 17, seven hours, 9 to 10"),
        ("2026-04-02 14:00", "2026-04-07 08:00", 2, "16 to 17 on Thursday, and after Easter 9 to 10 on Tuesday"),
        ("2026-04-03 08:00", "2026-04-06 20:00", 0, "Easter"),
        ("2026-03-03 08:00", "2026-03-02 08:00", 0, "the end comes first"),
        ("2026-03-02 11:00", "2026-03-02 12:00", 0, "a break"),
    ],
)
def test_working_time_worked_out_by_hand(start: str, end: str, worked: float, why: str) -> None:
    assert working_between(BERLIN, utc(start), utc(end)) == hours(worked), why


@pytest.mark.parametrize(
    ("zone", "stretches", "opens", "closes", "why"),
    [
        ("Europe/Berlin", "sun 00:00-24:00", "2026-03-28 23:00", "2026-03-29 22:00", "a day of 23 hours"),
        ("Europe/Berlin", "sun 00:00-24:00", "2026-10-24 22:00", "2026-10-25 23:00", "a day of 25 hours"),
        ("Europe/Berlin", "sun 02:30-05:00", "2026-03-29 01:00", "2026-03-29 03:00", "opens in the gap: at its change"),
        (
            "Europe/Berlin",
            "sun 01:00-02:30",
            "2026-03-29 00:00",
            "2026-03-29 01:00",
            "closes in the gap: at its change",
        ),
        ("Europe/Berlin", "sun 02:30-04:00", "2026-10-25 00:30", "2026-10-25 03:00", "opens at the first 02:30"),
        ("Europe/Berlin", "sun 01:00-02:30", "2026-10-24 23:00", "2026-10-25 01:30", "closes at the second 02:30"),
        ("America/Havana", "sat 22:00-24:00", "2025-11-02 02:00", "2025-11-02 04:00", "closes at the first midnight"),
        (
            "America/Havana",
            "sun 00:00-01:00",
            "2025-11-02 04:00",
            "2025-11-02 06:00",
            "opens there, an hour that comes twice",
        ),
        (
            "Africa/Cairo",
            "thu 22:00-24:00",
            "2026-04-23 20:00",
            "2026-04-23 22:00",
            "no midnight: closes at the change",
        ),
        ("Africa/Cairo", "fri 00:00-02:00", "2026-04-23 22:00", "2026-04-23 23:00", "no midnight: opens at the change"),
    ],
)
def test_a_change_of_the_clock(zone: str, stretches: str, opens: str, closes: str, why: str) -> None:
    calendar = Calendar(zone, week((stretches,)), frozenset(), date(2026, 12, 31))
    start, end = utc(opens), utc(closes)
    assert working_between(calendar, start - hours(12), end + hours(12)) == end - start, why
    assert add_working(calendar, start - hours(12), timedelta(minutes=1)) == start + timedelta(minutes=1), why
    assert add_working(calendar, start - hours(12), end - start) == end, why


def test_what_the_clock_skips_altogether_is_no_work() -> None:
    calendar = Calendar("Europe/Berlin", week(("sun 02:15-02:45",)), frozenset(), date(2026, 12, 31))
    assert working_between(calendar, utc("2026-03-28 00:00"), utc("2026-03-30 00:00")) == hours(0)
    # Sunday the 29th is no working day, so the first one after Saturday is the 5th of April, 02:45 in summer time
    assert due_in(calendar, utc("2026-03-28 12:00"), "P1D") == utc("2026-04-05 00:45")


def test_stretches_that_meet_in_an_hour_that_comes_twice_count_it_once() -> None:
    calendar = Calendar("Europe/Berlin", week(("sun 01:00-02:30", "sun 02:30-04:00")), frozenset(), date(2026, 12, 31))
    # 01:00 in summer time to 04:00 in winter time: 23:00 to 03:00 UTC
    assert working_between(calendar, utc("2026-10-24 00:00"), utc("2026-10-26 00:00")) == hours(4)


def test_beyond_the_known_holidays_nothing_is_counted() -> None:
    short = BERLIN._replace(covers_until=date(2026, 3, 3))
    assert due_in(short, utc("2026-03-02 08:00"), "PT14H") == utc("2026-03-03 16:00")
    assert due_in(short, utc("2026-03-02 08:00"), "P1D") == utc("2026-03-03 16:00")
    for duration in ("PT14H1M", "P2D"):
        with pytest.raises(NotCovered):
            due_in(short, utc("2026-03-02 08:00"), duration)
    assert working_between(short, utc("2026-03-02 08:00"), utc("2026-03-03 16:00")) == hours(14)
    with pytest.raises(NotCovered):
        working_between(short, utc("2026-03-02 08:00"), utc("2026-03-03 16:01"))


def test_durations() -> None:
    assert elapsed("P3D") == hours(72)
    assert elapsed("PT90M") == hours(1.5)
    assert elapsed("PT1H30M") == hours(1.5)
    assert elapsed("PT4H") == hours(4)


@pytest.mark.parametrize(
    "lines", [("mon 09:00-09:00",), ("mon 12:00-09:00",), ("mon 09:00-12:00", "mon 11:59-13:00")], ids=str
)
def test_hours_that_are_none(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="begins no stretch of its own"):
        week(lines)
    assert week(("mon 12:00-13:00", "mon 09:00-12:00"))[0] == ((540, 720), (720, 780))
