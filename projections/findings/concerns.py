"""Findings about concerns: listened to in time, in this order."""

from ledger.domain.concerns import (
    Concern,
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernConfirmed,
    ConcernEvent,
    ConcernRaised,
    ConcernReopened,
    ConcernWithdrawn,
    UnknownAdmitted,
)
from ledger.domain.dispatch import evolve
from projections.findings.facts import Facts, Rules
from projections.findings.records import Listened

_ALL = ("concern-unacknowledged", "concern-unaddressed", "solution-before-listening")


def _concern_event(facts: Facts, event: ConcernEvent) -> None:
    key = event.stream
    before = facts.recall(key, Concern)
    facts.remember(key, evolve(before, event, facts.happened))
    match event:
        case ConcernRaised():
            _waits(facts, event)
        case ConcernReopened():
            facts.close(key, *_ALL)
            _waits(facts, event)
        case ConcernAcknowledged():
            facts.remember(f"listened:{event.concern_id}", Listened(facts.dated))
            facts.close(key, "concern-unacknowledged", "solution-before-listening")
        case ConcernAddressed():
            facts.close(key, "concern-unaddressed")
            if before is None or before.acknowledged_at is None or before.acknowledged_at > facts.at:
                facts.open(key, "solution-before-listening", facts.at, customer_id=event.customer_id)
                _listened_later(facts, key, before)
        case ConcernWithdrawn() | ConcernConfirmed():
            facts.close(key, *_ALL)


def _listened_later(facts: Facts, key: str, before: Concern | None) -> None:
    """It was acknowledged after it was addressed, though that was recorded first."""
    listened = facts.recall(key.replace("concern:", "listened:", 1), Listened)
    if before is not None and before.acknowledged_at is not None and listened is not None:
        facts.closed_before(key, "solution-before-listening", listened.acknowledged)


def _waits(facts: Facts, event: ConcernEvent) -> None:
    key, customer_id = event.stream, event.customer_id
    acknowledge_by = facts.by("acknowledge_within_hours", facts.at)
    facts.open(key, "concern-unacknowledged", acknowledge_by, customer_id=customer_id)
    address_by = facts.by("address_within_hours", facts.at)
    facts.open(key, "concern-unaddressed", address_by, customer_id=customer_id)


RULES: Rules = dict.fromkeys(
    (
        ConcernRaised,
        ConcernAcknowledged,
        ConcernAddressed,
        ConcernWithdrawn,
        ConcernConfirmed,
        UnknownAdmitted,
        ConcernReopened,
    ),
    _concern_event,
)
