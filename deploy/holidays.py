"""The public holidays of a country, for the draft of a calendar, from the package `holidays`.

Only the draft needs it: the days themselves are published and stored, so that no later version of the package moves a
due time.
"""

from collections.abc import Sequence
from datetime import date
from importlib import metadata
from typing import NamedTuple

MOST_YEARS = 20


class UnknownPlace(Exception):
    """The package knows no such country, or no such part of it, or not in those years."""


class Holiday(NamedTuple):
    """One day on which nobody works, and the name that it goes by (two where two fall on one day)."""

    day: date
    name: str


def public_holidays(country: str, subdivision: str | None, years: Sequence[int]) -> list[Holiday]:
    """The public holidays of those years, substitute days among them, in order. Raises UnknownPlace."""
    import holidays  # large, and no other command needs it

    try:
        found = holidays.country_holidays(country, subdiv=subdivision, years=years, language="en_US")
    except NotImplementedError as error:
        raise UnknownPlace(f"{error}: codes are those of ISO 3166, such as DE with the subdivision BE") from None
    without = sorted(set(years) - {day.year for day in found})
    if without:
        raise UnknownPlace(f"of {without[0]} no holidays of {country} are known")
    return [Holiday(day, name) for day, name in sorted(found.items())]


def versions() -> str:
    """What they come from, such as `holidays 0.109`."""
    return f"holidays {metadata.version('holidays')}"
