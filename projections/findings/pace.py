"""How fast we have been: our past deliveries of each kind, and the times that offerings promise."""

from bisect import bisect_left, insort
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from ledger.domain.calendars import elapsed
from ledger.domain.offerings import OfferingPublished
from projections.findings.facts import Facts, Rules
from projections.findings.records import Lead, Pace

WINDOW: Final = 200
"""The last deliveries of a kind that count; older ones say nothing of how fast we are."""
ENOUGH: Final = 5
"""With fewer deliveries nothing is said about realism."""
PERCENTILE: Final = 20


def whole_seconds(span: timedelta) -> int:
    """The seconds of a span, cut off."""
    return span // timedelta(seconds=1)


def delivered(pace: Pace | None, claimed_at: datetime, seconds: int) -> Pace:
    """The pace with one more delivery, which took so many seconds from the promise to our claim."""
    pace = pace or Pace()
    if len(pace.seconds) == WINDOW:
        pace = _without(pace, 0)
    ordered = list(pace.ordered)
    insort(ordered, seconds)
    latest = claimed_at if pace.latest is None else max(pace.latest, claimed_at)
    return Pace((*pace.claimed_at, claimed_at), (*pace.seconds, seconds), tuple(ordered), latest)


def disputed(pace: Pace | None, claimed_at: datetime, seconds: int) -> Pace | None:
    """The pace without that delivery: it was none."""
    pairs = [] if pace is None else list(zip(pace.claimed_at, pace.seconds, strict=True))
    if pace is None or (claimed_at, seconds) not in pairs:
        return pace
    return _without(pace, pairs.index((claimed_at, seconds)))


def _without(pace: Pace, index: int) -> Pace:
    ordered = list(pace.ordered)
    del ordered[bisect_left(ordered, pace.seconds[index])]
    return Pace(
        pace.claimed_at[:index] + pace.claimed_at[index + 1 :],
        pace.seconds[:index] + pace.seconds[index + 1 :],
        tuple(ordered),
        pace.latest,
    )


def quantile(pace: Pace | None, at: datetime) -> tuple[int, int] | None:
    """The 20th percentile (nearest rank, in seconds) of those claimed by `at`, and their number; None below five."""
    if pace is None:
        return None
    ordered = pace.ordered
    if pace.latest is not None and pace.latest > at:
        known = (each for each, claimed_at in zip(pace.seconds, pace.claimed_at, strict=True) if claimed_at <= at)
        ordered = tuple(sorted(known))
    count = len(ordered)
    return None if count < ENOUGH else (ordered[(count * PERCENTILE + 99) // 100 - 1], count)


def lead_seconds(lead: Lead | None, at: datetime) -> int | None:
    """The lead time of the version in effect at `at`: the last published that had begun; None where it is over then."""
    begun = [] if lead is None else [version for version in zip(*lead, strict=True) if max(version[:2]) <= at]
    if not begun:
        return None
    *_, valid_to, seconds = begun[-1]  # it replaced those before it, so none of them is back when it ends
    return seconds if valid_to is None or at < valid_to else None


def _published(facts: Facts, event: OfferingPublished) -> None:
    """Nobody knew it before it was published, which may be recorded after a later version."""
    lead = facts.recall(event.stream, Lead) or Lead()
    version = facts.at, event.valid_from, event.valid_to, whole_seconds(elapsed(event.lead_time))
    versions = sorted((*zip(*lead, strict=True), version), key=itemgetter(0))
    facts.remember(event.stream, Lead(*zip(*versions, strict=True)))


RULES: Rules = {OfferingPublished: _published}
