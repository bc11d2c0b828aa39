"""Findings about promises. How a promise stands is said by the ledger's own `evolve`; here is what is wrong with it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from ledger.domain import deadlines, escalations, promises
from ledger.domain.assumptions import Assumption, AssumptionConfirmed, AssumptionRefuted
from ledger.domain.dispatch import evolve
from ledger.domain.model import Event
from ledger.domain.promise_messages import (
    PromiseAccepted,
    PromiseActivated,
    PromiseBroken,
    PromiseDisputed,
    PromiseEvent,
    PromiseReassigned,
    PromiseRescheduled,
    PromiseSuperseded,
)
from ledger.domain.promise_state import Promise
from projections.findings import lateness, telling, truth
from projections.findings.facts import Facts, Rules
from projections.findings.pace import lead_seconds, quantile, whole_seconds
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
    lateness.judge(facts, key, before, after)
    handle = _HANDLERS.get(type(event))
    if handle is not None:
        handle(facts, key, event, before, after)
    _ended(facts, key, before, after)


def _reassigned(facts: Facts, key: str, _: PromiseReassigned, before: Promise, after: Promise) -> None:
    facts.close(key, "handover-unaccepted")
    _handed_over(facts, key, after, facts.at)


def _accepted(facts: Facts, key: str, _: PromiseAccepted, before: Promise, after: Promise) -> None:
    facts.close(key, "handover-unaccepted")
    if after.owner != after.customer_id:
        facts.close(key, "unowned")
    else:
        facts.open(key, "unowned", facts.at, customer_id=after.customer_id)


def _superseded(facts: Facts, key: str, event: PromiseSuperseded, before: Promise, after: Promise) -> None:
    telling.way_forward_by(facts, event.disclosure_id)


def _made(facts: Facts, key: str, promise: Promise) -> None:
    lateness.begin(facts, key, promise)
    _overpromised(facts, key, promise)
    for disclosure_id in dict.fromkeys(promise.based_on):
        facts.link("rests", f"disclosure:{disclosure_id}", key)
    _owed(facts, key, promise, facts.at)


def _owed(facts: Facts, key: str, promise: Promise, since: datetime) -> None:
    """What is wrong with it while it is owed: from its making on, and again since it goes on after its end."""
    if promise.pending_owner is not None or not promise.accepted:
        _handed_over(facts, key, promise, since)
    if promise.basis == "assumed":
        assumption = facts.recall(f"assumption:{key}", Assumption)
        if assumption is None:
            confirm_by = facts.by("confirm_within_hours", promise.made_at)
            facts.open(key, "assumption-open", max(confirm_by, since), customer_id=promise.customer_id)
        elif assumption.outcome == "refuted":
            _refuted(facts, key, promise, max(assumption.settled_at, since))
    if promise.owner == promise.customer_id:
        facts.open(key, "unowned", since, customer_id=promise.customer_id)
    truth.rests(facts, key, promise, since)


def _handed_over(facts: Facts, key: str, promise: Promise, since: datetime) -> None:
    accept_by = facts.by("accept_within_hours", since)
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


def _disputed(facts: Facts, key: str, _: PromiseDisputed, before: Promise, after: Promise) -> None:
    if before.standing == "ended":
        _owed(facts, key, after, facts.at)


def _activated(facts: Facts, key: str, _: PromiseActivated, before: Promise, after: Promise) -> None:
    """Its condition was met in time, though it was announced as expired: it has been owed since it seemed to end."""
    if before.ended_at is not None:
        facts.outstanding_since = before.ended_at
        _owed(facts, key, after, before.ended_at)


def _rescheduled(facts: Facts, key: str, event: PromiseRescheduled, before: Promise, after: Promise) -> None:
    telling.way_forward_by(facts, event.disclosure_id)


def _broken(facts: Facts, key: str, event: PromiseBroken, before: Promise, promise: Promise) -> None:
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
        if promise is not None and not truth.over(facts, promise):
            _refuted(facts, key, promise, facts.at)


def _refuted(facts: Facts, key: str, promise: Promise, since: datetime) -> None:
    """It may rest on a falsehood as well, which was known before or after."""
    detail = {"refuted_assumption": True}
    facts.open(key, "rests-on-falsehood", since, customer_id=promise.customer_id, detail=detail, earliest=True)
    if promise.standing == "ended":  # later, though that was recorded first
        facts.close(key, "rests-on-falsehood", at=promise.ended_at)


_HANDLERS: Final[dict[type[Event], Callable[[Facts, str, Any, Promise, Promise], None]]] = {
    PromiseActivated: _activated,
    PromiseDisputed: _disputed,
    PromiseRescheduled: _rescheduled,
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
