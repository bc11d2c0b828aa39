"""Findings about what was told, and how: owner, way forward, apologies, channels, outages given as the reason."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from ledger.domain.apologies import ApologyMade
from ledger.domain.concerns import Concern
from ledger.domain.disclosures import CorrectionDelivered, DisclosureMade
from ledger.domain.followups import FollowUpAttempted, FollowUpScheduled
from ledger.domain.model import Event
from ledger.domain.promise_state import Promise
from projections.findings import erased, outages, truth
from projections.findings.facts import Facts, Rules
from projections.findings.records import ANY_OUTAGE, Owed, Said, Topic, Trouble, dated, topic_key

SPOKEN: Final = ("in_person", "phone", "video", "chat")
OUTAGE_REASON: Final = "outage"
NO_WAY_FORWARD: Final = "disclosure-without-way-forward"
UNTOLD: Final = ("undisclosed-problem", "withheld-past-review", "withheld-self-approved")


def about_stream(event: Event, prefix: str = "about") -> str | None:
    """The stream of what an event is about, as its members `<prefix>_problem_id` … say."""
    for name, member in _about_members(type(event), prefix):
        if (about := event.__dict__[member]) is not None:
            return f"{name}:{about}"
    return None


@cache
def _about_members(kind: type[Event], prefix: str) -> tuple[tuple[str, str], ...]:
    """The members of such events that name what they are about, with the kind of stream."""
    names = ((name, f"{prefix}_{name}_id") for name in ("problem", "promise", "concern", "disclosure"))
    return tuple((name, member) for name, member in names if member in kind.model_fields)


def _made(facts: Facts, event: DisclosureMade) -> None:
    key, customer_id = event.stream, event.customer_id
    about = about_stream(event)
    facts.remember(key, Said(customer_id, facts.at, about, event.reason_class, event.control, outage_id=_claim(event)))
    if event.owner == customer_id:
        erased.open_until(facts, key, "unowned", facts.at, customer_id=customer_id)
    if event.basis == "assumed":
        confirm_by = facts.by("confirm_within_hours", facts.at)
        facts.open(key, "assumption-open", confirm_by, customer_id=customer_id)
    if event.solution_ref is None and event.next_update_at is None:
        facts.open(key, NO_WAY_FORWARD, facts.at, customer_id=customer_id)
    if about is not None:
        _about(facts, key, event, about)
    outages.judge(facts, key)
    truth.told(facts, key, event)


def _claim(event: DisclosureMade) -> str | None:
    """The outage that was named, or given as the reason."""
    is_reason = (event.reason_class or "").casefold() == OUTAGE_REASON
    return event.outage_id or (ANY_OUTAGE if is_reason else None)


def _about(facts: Facts, key: str, event: DisclosureMade, about: str) -> None:
    topic = topic_key(about, event.customer_id)
    if event.solution_ref is None and event.next_update_at is None:
        _waits(facts, topic, key, NO_WAY_FORWARD)
    else:
        _way_forward(facts, topic)
    if event.apology:
        _apologised(facts, topic)
    known = facts.recall(topic, Topic) or Topic()
    if about.startswith("problem:"):
        facts.close(topic, *UNTOLD)
        if known.told is None or facts.at < known.told[0]:
            facts.remember(topic, known._replace(told=facts.dated))
        found = facts.slot(topic, "discovered-by-customer")
        if found is not None and facts.at <= found.opened_at:  # they had been told: it was recorded late
            facts.close(topic, "discovered-by-customer")
    _channel(facts, topic, about, event.channel, event.customer_id)


def _channel(facts: Facts, topic: str, about: str, channel: str, customer_id: str) -> None:
    """Something was said about a grave thing: in writing alone it is a finding until somebody speaks with them."""
    severity = None
    if about.startswith("problem:"):
        problem = facts.recall(about, Trouble)
        severity = None if problem is None else problem.severity
    elif about.startswith("concern:"):
        concern = facts.recall(about, Concern)
        severity = None if concern is None else concern.severity
    if severity is None or severity > 2:
        return
    known = facts.recall(topic, Topic) or Topic()
    if channel in SPOKEN:
        facts.close(topic, "written-only-severe")
        if known.spoken is None or facts.at < known.spoken[0]:
            facts.remember(topic, known._replace(spoken=facts.dated))
    elif known.spoken is None or facts.at < known.spoken[0]:
        _written(facts, topic, about, customer_id, {"channel": channel, "severity": severity})
        facts.closed_before(topic, "written-only-severe", known.spoken)


def _written(facts: Facts, topic: str, about: str, customer_id: str, detail: dict[str, Any]) -> None:
    facts.open(
        topic,
        "written-only-severe",
        facts.at,
        subject=about,
        customer_id=customer_id,
        detail=detail,
        earliest=True,
    )


def _waits(facts: Facts, topic: str, key: str, code: str) -> None:
    """`key`, a disclosure or an apology, waits for a way forward in what it was about; it may be on record already."""
    known = facts.recall(topic, Topic) or Topic()
    way = next((each for each in known.ways_forward if each > facts.dated), None)
    if way is None:
        facts.remember(topic, known._replace(without_way_forward=(*known.without_way_forward, key)))
    else:
        facts.closed_before(key, code, way)


def _way_forward(facts: Facts, topic: str) -> None:
    """Something with a date or a solution was said about this: what waited for it, since earlier, is answered."""
    known = facts.recall(topic, Topic) or Topic()
    waiting = tuple(key for key in known.without_way_forward if not _answered(facts, key))
    ways = dated(known.ways_forward, facts.dated)
    facts.remember(topic, known._replace(without_way_forward=waiting, ways_forward=ways))


def _answered(facts: Facts, key: str) -> bool:
    """Whether what `key` opened is closed: by this, where it is older."""
    for code in (NO_WAY_FORWARD, "apology-without-step"):
        slot = facts.slot(key, code)
        if slot is not None and facts.at >= slot.opened_at:
            facts.close(key, code)
        elif slot is not None:
            return False
    return True


def way_forward_by(facts: Facts, disclosure_id: str) -> None:
    """A due time that the disclosure told of is its dated next step."""
    facts.close(f"disclosure:{disclosure_id}", NO_WAY_FORWARD)


def apology_owed(facts: Facts, key: str, topics: Sequence[str], customer_id: str, subject: str | None = None) -> None:
    """A word was broken just now. One apology about any of `topics` is enough, also one that came shortly before."""
    apologise_by = facts.by("apologise_within_hours", facts.at)
    made = [each for topic in topics for each in (facts.recall(topic, Topic) or Topic()).apologies]
    first = min((each for each in made if _counts(facts, each[0], facts.at)), default=None)
    if first is None or first[0] > apologise_by:
        facts.open(key, "unapologised", apologise_by, subject=subject, customer_id=customer_id)
        facts.closed_before(key, "unapologised", first)


def _counts(facts: Facts, apologised_at: datetime, owed_since: datetime) -> bool:
    """Whether an apology was made since, or shortly before."""
    return owed_since - apologised_at <= facts.limit("apologise_within_hours", owed_since)


def _owed_since(facts: Facts, key: str) -> datetime | None:
    """When the promise was broken, or the resolution failed for the customer."""
    if key.startswith("promise:"):
        promise = facts.recall(key, Promise)
        return None if promise is None else promise.ended_at
    topic = facts.recall(key, Topic)
    return None if topic is None else topic.failed_at


def _apologised(facts: Facts, topic: str) -> None:
    known = facts.recall(topic, Topic) or Topic()
    facts.remember(topic, known._replace(apologies=dated(known.apologies, facts.dated)))
    about = topic.removeprefix("topic:").partition("/")[0]
    for key in (topic, about, *known.broken):
        if facts.slot(key, "unapologised") is not None:
            owed_since = _owed_since(facts, key)
            if owed_since is None or _counts(facts, facts.at, owed_since):
                facts.close(key, "unapologised")


def _apology(facts: Facts, event: ApologyMade) -> None:
    about = about_stream(event, "for")
    topic = None if about is None else topic_key(about, event.customer_id)
    if topic is not None:
        _apologised(facts, topic)
    if facts.personal:  # next_step is the only text that an apology has
        if topic is not None:
            _way_forward(facts, topic)
        return
    erased.open_until(facts, event.stream, "apology-without-step", facts.at, customer_id=event.customer_id)
    if topic is not None:
        _waits(facts, topic, event.stream, "apology-without-step")


def _scheduled(facts: Facts, event: FollowUpScheduled) -> None:
    """To go back to them at a stated time is a dated next step."""
    about = about_stream(event)
    facts.remember(event.stream, Owed(about))
    if about is not None and about.startswith("disclosure:"):
        facts.close(about, NO_WAY_FORWARD)
    elif about is not None:
        _way_forward(facts, topic_key(about, event.customer_id))


def _attempted(facts: Facts, event: FollowUpAttempted) -> None:
    owed = facts.recall(event.stream, Owed)
    if owed is None or owed.about is None:
        return
    if owed.about.startswith("disclosure:"):
        truth.attempted(facts, owed.about)
    elif event.reached:
        _channel(facts, topic_key(owed.about, event.customer_id), owed.about, event.channel, event.customer_id)


RULES: Rules = {
    DisclosureMade: _made,
    CorrectionDelivered: _made,
    ApologyMade: _apology,
    FollowUpScheduled: _scheduled,
    FollowUpAttempted: _attempted,
}
