"""Findings about promises. How a promise stands is said by the ledger's own `evolve`; here is what is wrong with it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from ledger.domain import deadlines, escalations, promises
from ledger.domain.assumptions import Assumption, AssumptionConfirmed, AssumptionRefuted
from ledger.domain.dispatch import evolve
from ledger.domain.model import Event
from ledger.domain.promises import (
    Promise,
    PromiseAccepted,
    PromiseActivated,
    PromiseAtRisk,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseEvent,
    PromiseKept,
    PromiseReassigned,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuperseded,
    PromiseSuspended,
    late_against_original,
)
from projections.findings import telling, truth
from projections.findings.facts import Facts, Rules
from projections.findings.pace import delivered, disputed, lead_seconds, quantile, whole_seconds
from projections.findings.records import Lead, Pace, Realistic, Topic, topic_key

_OVER_WITH_THE_PROMISE = (
    "overdue",
    "no-warning",
    "overpromised",
    "claimed-not-verified",
    "closed-by-silence",
    "handover-unaccepted",
    "assumption-open",
    "rests-on-falsehood",
    "repeated-falsehood",
    "unowned",
)
_UNANSWERED = ("claimed-not-verified", "closed-by-silence")


def _promise_event(facts: Facts, event: PromiseEvent) -> None:
    key = event.stream
    before = facts.recall(key, Promise)
    after = evolve(before, event, facts.happened)
    assert isinstance(after, Promise)
    facts.remember(key, after)
    facts.outstanding = (after.standing != "ended") - (before is not None and before.standing != "ended")
    if before is None:
        _made(facts, key, after)
        return
    handle = _HANDLERS.get(type(event))
    if handle is not None:
        handle(facts, key, event, before, after)
    _ended(facts, key, before, after)


def _activated(facts: Facts, key: str, _: PromiseActivated, before: Promise, after: Promise) -> None:
    _run(facts, key, after, after.due_at)


def _verified(facts: Facts, key: str, _: PromiseKept, before: Promise, after: Promise) -> None:
    facts.close(key, *_UNANSWERED)


def _at_risk(facts: Facts, key: str, _: PromiseAtRisk, before: Promise, after: Promise) -> None:
    slot = facts.slot(key, "no-warning")
    if slot is not None and facts.at <= slot.opened_at:
        facts.close(key, "no-warning")


def _suspended(facts: Facts, key: str, _: PromiseSuspended, before: Promise, after: Promise) -> None:
    if after.paused_at is not None:
        facts.close(key, "overdue", "no-warning")


def _resumed(facts: Facts, key: str, _: PromiseResumed, before: Promise, after: Promise) -> None:
    if before.paused_at is not None and after.claimed_at is None:
        _run(facts, key, after, after.due_at)


def _reassigned(facts: Facts, key: str, _: PromiseReassigned, before: Promise, after: Promise) -> None:
    facts.close(key, "handover-unaccepted")
    _handed_over(facts, key, after)


def _accepted(facts: Facts, key: str, _: PromiseAccepted, before: Promise, after: Promise) -> None:
    facts.close(key, "handover-unaccepted")
    if after.owner != after.customer_id:
        facts.close(key, "unowned")
    else:
        facts.open(key, "unowned", facts.at, customer_id=after.customer_id)


def _superseded(facts: Facts, key: str, event: PromiseSuperseded, before: Promise, after: Promise) -> None:
    telling.way_forward_by(facts, event.disclosure_id)


def _made(facts: Facts, key: str, promise: Promise) -> None:
    if promise.standing == "active":
        _run(facts, key, promise, promise.due_at)
    _overpromised(facts, key, promise)
    for disclosure_id in dict.fromkeys(promise.based_on):
        facts.link("rests", f"disclosure:{disclosure_id}", key)
    _owed(facts, key, promise)


def _owed(facts: Facts, key: str, promise: Promise) -> None:
    """What is wrong with it while it is owed: from its making on, and again from a dispute on that reopens it."""
    if promise.pending_owner is not None or not promise.accepted:
        _handed_over(facts, key, promise)
    if promise.basis == "assumed":
        assumption = facts.recall(f"assumption:{key}", Assumption)
        if assumption is None:
            confirm_by = facts.by("confirm_within_hours", promise.made_at)
            facts.open(key, "assumption-open", max(confirm_by, facts.at), customer_id=promise.customer_id)
        elif assumption.outcome == "refuted":
            _refuted(facts, key, promise)
    if promise.owner == promise.customer_id:
        facts.open(key, "unowned", facts.at, customer_id=promise.customer_id)
    truth.rests(facts, key, promise)


def _run(facts: Facts, key: str, promise: Promise, opens_at: datetime) -> None:
    """Past due from `opens_at` on, unless something comes before."""
    facts.open(key, "overdue", opens_at, customer_id=promise.customer_id)
    if promise.warned_at is None or promise.warned_at > opens_at:
        facts.open(key, "no-warning", opens_at, customer_id=promise.customer_id)


def _handed_over(facts: Facts, key: str, promise: Promise) -> None:
    accept_by = facts.by("accept_within_hours", facts.at)
    to = promise.pending_owner or promise.for_team
    facts.open(key, "handover-unaccepted", accept_by, customer_id=promise.customer_id, detail={"to": to})


def _overpromised(facts: Facts, key: str, promise: Promise) -> None:
    """Judged once, by what was known when it was made: what was recorded before it, and claimed no later."""
    lead = None
    if promise.offering_id is not None:
        lead = lead_seconds(facts.recall(f"offering:{promise.offering_id}", Lead), facts.at)
    usual = quantile(facts.recall(f"pace:{promise.kind}", Pace), facts.at)
    promised = whole_seconds(promise.due_at - facts.at)
    detail = {"promised_seconds": promised}
    if lead is not None and promised < lead:
        detail["lead_time_seconds"] = lead
    if usual is not None and promised < usual[0]:
        detail |= {"percentile_20_seconds": usual[0], "deliveries": usual[1]}
    if len(detail) > 1:
        facts.remember(f"realistic:{key}", Realistic(max(lead or 0, 0 if usual is None else usual[0]), detail))
        facts.open(key, "overpromised", facts.at, customer_id=promise.customer_id, detail=detail)


def _claimed(facts: Facts, key: str, _: PromiseClaimedKept, before: Promise, promise: Promise) -> None:
    facts.close(key, "overdue", "no-warning", "overpromised")
    late = promise.latched or facts.at > promise.due_at
    if late or late_against_original(promise):
        detail = {
            "late_against": "due_at" if late else "original_due_at",
            "due_at": promise.due_at,
            "original_due_at": promise.original_due_at,
        }
        facts.open(key, "kept-late", facts.at, customer_id=promise.customer_id, detail=detail)
    if promise.verification == "required":
        claimed(facts, key, promise.customer_id)
    pace = facts.recall(f"pace:{promise.kind}", Pace)
    facts.remember(f"pace:{promise.kind}", delivered(pace, facts.at, whole_seconds(facts.at - promise.made_at)))


def claimed(facts: Facts, key: str, customer_id: str, subject: str | None = None, at: datetime | None = None) -> None:
    """We say that it is done: the customer's word is missing, and after a while it is closed by silence."""
    since = at or facts.at
    verify_by = facts.by("verify_within_hours", since)
    facts.open(key, "claimed-not-verified", since, subject=subject, customer_id=customer_id)
    facts.open(key, "closed-by-silence", verify_by, subject=subject, customer_id=customer_id)


def _disputed(facts: Facts, key: str, _: PromiseDisputed, before: Promise, after: Promise) -> None:
    """It was not kept: the clock runs again, and where it was due already it is overdue from now on."""
    _withdrawn(facts, key, before)
    if after.latched or after.due_at < facts.at:
        facts.open(key, "overdue", facts.at, customer_id=after.customer_id)
    else:
        _run(facts, key, after, after.due_at)
    realistic = facts.recall(f"realistic:{key}", Realistic)
    if realistic is not None and not _is_realistic(after, realistic):
        detail = dict(realistic.detail)
        facts.open(key, "overpromised", facts.at, customer_id=after.customer_id, detail=detail)
    if before.standing == "ended":
        _owed(facts, key, after)


def _withdrawn(facts: Facts, key: str, before: Promise) -> None:
    """Our claim counts no more: it was no delivery."""
    facts.close(key, *_UNANSWERED, "kept-late")
    if before.claimed_at is not None:
        pace = facts.recall(f"pace:{before.kind}", Pace)
        taken = disputed(pace, before.claimed_at, whole_seconds(before.claimed_at - before.made_at))
        facts.remember(f"pace:{before.kind}", taken)


def _rescheduled(facts: Facts, key: str, event: PromiseRescheduled, before: Promise, after: Promise) -> None:
    """Moved in time, the old due time opens nothing any more. Past due it is overdue for good, until claimed."""
    telling.way_forward_by(facts, event.disclosure_id)
    running = before.claimed_at is None and before.standing != "conditional"
    if running and before.paused_at is None and facts.at > before.due_at:
        detail = {"old_due_at": event.old_due_at, "new_due_at": event.new_due_at}
        facts.flag(key, "rescheduled-after-due", facts.at, customer_id=after.customer_id, detail=detail)
    elif running and not after.latched:
        facts.close(key, "overdue", "no-warning")
        _run(facts, key, after, after.due_at)
    if facts.slot(key, "overpromised") is not None:
        _reconsider(facts, key, after)


def _reconsider(facts: Facts, key: str, promise: Promise) -> None:
    """A due time moved to what is realistic, as known when the promise was made, is no overpromise any more."""
    realistic = facts.recall(f"realistic:{key}", Realistic)
    if realistic is not None and _is_realistic(promise, realistic):
        facts.close(key, "overpromised")


def _is_realistic(promise: Promise, realistic: Realistic) -> bool:
    return promise.due_at - promise.made_at >= timedelta(seconds=realistic.seconds)


def _broken(facts: Facts, key: str, event: PromiseBroken, before: Promise, promise: Promise) -> None:
    _withdrawn(facts, key, before)
    topics = [topic_key(key, promise.customer_id)]
    if event.problem_id is not None:
        topic = topic_key(f"problem:{event.problem_id}", promise.customer_id)
        topics.append(topic)
        known = facts.recall(topic, Topic) or Topic()
        facts.remember(topic, known._replace(broken=(*known.broken, key)))
        truth.touched(facts, f"problem:{event.problem_id}", promise)
    telling.apology_owed(facts, key, topics, promise.customer_id)


def _ended(facts: Facts, key: str, before: Promise, after: Promise) -> None:
    if after.standing == "ended" and before.standing != "ended":
        facts.close(key, *_OVER_WITH_THE_PROMISE, at=after.ended_at)


def _settled(facts: Facts, event: AssumptionConfirmed | AssumptionRefuted) -> None:
    key = f"promise:{event.promise_id}" if event.promise_id is not None else f"disclosure:{event.disclosure_id}"
    facts.close(key, "assumption-open")
    facts.remember(event.stream, evolve(None, event, facts.happened))
    if isinstance(event, AssumptionRefuted) and event.promise_id is not None:
        promise = facts.recall(key, Promise)
        if promise is not None and promise.standing != "ended":
            _refuted(facts, key, promise)


def _refuted(facts: Facts, key: str, promise: Promise) -> None:
    detail = {"refuted_assumption": True}
    facts.open(key, "rests-on-falsehood", facts.at, customer_id=promise.customer_id, detail=detail)


_HANDLERS: Final[dict[type[Event], Callable[[Facts, str, Any, Promise, Promise], None]]] = {
    PromiseClaimedKept: _claimed,
    PromiseKept: _verified,
    PromiseDisputed: _disputed,
    PromiseActivated: _activated,
    PromiseRescheduled: _rescheduled,
    PromiseAtRisk: _at_risk,
    PromiseSuspended: _suspended,
    PromiseResumed: _resumed,
    PromiseReassigned: _reassigned,
    PromiseAccepted: _accepted,
    PromiseBroken: _broken,
    PromiseSuperseded: _superseded,
}
RULES: Rules = {
    **dict.fromkeys((*promises.EVENTS, *deadlines.EVENTS, *escalations.EVENTS), _promise_event),
    AssumptionConfirmed: _settled,
    AssumptionRefuted: _settled,
}
