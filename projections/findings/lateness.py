"""Findings that rest on when a promise was due, claimed and moved: they say the same in whatever order that arrived.

Each event may be news of long ago. So nothing here goes by the event: what the course of the promise calls for now is
held against what it called for before. News of a moment changes nothing that was so before it; so what was never so
closes no later than it opened, and is never open.
"""

from datetime import datetime, timedelta
from typing import Any

from ledger.domain.promise_state import Promise, late_against_original
from ledger.domain.turns import Course, LateMove, course
from projections.findings.facts import Facts
from projections.findings.pace import delivered, disputed, whole_seconds
from projections.findings.records import Pace, Realistic


def begin(facts: Facts, key: str, promise: Promise) -> None:
    """It was made: past due from its due time on, unless something comes before. No turn came yet."""
    if promise.standing == "active":
        facts.open(key, "overdue", promise.due_at, customer_id=promise.customer_id)
        facts.open(key, "no-warning", promise.due_at, customer_id=promise.customer_id)


def judge(facts: Facts, key: str, before: Promise, after: Promise) -> None:
    """An event led from `before` to `after`; both may have ended."""
    was, now = course(before), course(after)
    _overdue(facts, key, after, now)
    _kept_late(facts, key, _late_claim(before, was), _late_claim(after, now), after)
    _moved_late(facts, key, was, now, after)
    _unanswered(facts, key, before, after)
    _paced(facts, before, after)
    _overpromised(facts, key, after, now)


def _overdue(facts: Facts, key: str, promise: Promise, now: Course) -> None:
    """Nothing where it has ended: that closes both."""
    if promise.standing == "ended":
        return
    at = now.overdue_at
    warned = at is not None and promise.warned_at is not None and promise.warned_at <= at
    _put(facts, key, "overdue", at, promise)
    _put(facts, key, "no-warning", None if warned or now.overdue_by_dispute else at, promise)


def _put(facts: Facts, key: str, code: str, at: datetime | None, promise: Promise) -> None:
    """The finding opens at `at` (None: it does not), and no other of that code is open."""
    slot = facts.slot(key, code)
    if slot is not None and slot.opened_at != at:
        facts.close(key, code)
    if at is not None:
        facts.open(key, code, at, customer_id=promise.customer_id)


def _late_claim(promise: Promise, led: Course) -> tuple[datetime, dict[str, Any]] | None:
    """When it was claimed too late, and too late for what; None where it was not."""
    if promise.claimed_at is None or led.claimed_due_at is None:
        return None
    late = led.latched  # by the claim itself, or before
    if not late and not late_against_original(promise):
        return None
    return promise.claimed_at, {
        "late_against": "due_at" if late else "original_due_at",
        "due_at": led.claimed_due_at,
        "original_due_at": promise.original_due_at,
    }


def _kept_late(facts: Facts, key: str, was: Any, now: tuple[datetime, dict[str, Any]] | None, after: Promise) -> None:
    if was != now:
        facts.close(key, "kept-late")
        if now is not None:
            facts.open(key, "kept-late", now[0], customer_id=after.customer_id, detail=now[1])


def _moved_late(facts: Facts, key: str, was: Course, now: Course, after: Promise) -> None:
    """Each rescheduling past due is one finding, which nothing closes but news that it was none."""
    for move in was.late_moves:
        if move not in now.late_moves and (now.shortened_at is None or move.at > now.shortened_at):
            facts.close(key, _slot(move), at=move.at)
    for move in now.late_moves:
        if move not in was.late_moves:
            facts.open(
                key,
                "rescheduled-after-due",
                move.at,
                customer_id=after.customer_id,
                detail={"old_due_at": move.old_due_at, "new_due_at": move.new_due_at},
                slot=_slot(move),
            )


def _slot(move: LateMove) -> str:
    return f"rescheduled-after-due/{move.at.isoformat()}/{move.new_due_at.isoformat()}"


def _unanswered(facts: Facts, key: str, before: Promise, after: Promise) -> None:
    was, now = _waits_since(before), _waits_since(after)
    if was != now:
        facts.close(key, "claimed-not-verified", "closed-by-silence")
        if now is not None:
            claimed(facts, key, after.customer_id, at=now)


def _waits_since(promise: Promise) -> datetime | None:
    """Since when our claim waits for the customer's word; None where it does not."""
    waits = promise.standing != "ended" and promise.verification == "required"
    return promise.claimed_at if waits else None


def claimed(facts: Facts, key: str, customer_id: str, subject: str | None = None, *, at: datetime) -> None:
    """We say since `at` that it is done: the customer's word is missing, and after a while it is closed by silence."""
    verify_by = facts.by("verify_within_hours", at)
    facts.open(key, "claimed-not-verified", at, subject=subject, customer_id=customer_id)
    facts.open(key, "closed-by-silence", verify_by, subject=subject, customer_id=customer_id)


def _paced(facts: Facts, before: Promise, after: Promise) -> None:
    """A claim was a delivery, until it counts no more."""
    if before.claimed_at == after.claimed_at:
        return
    key = f"pace:{after.kind}"
    pace = facts.recall(key, Pace)
    if before.claimed_at is not None:
        pace = disputed(pace, before.claimed_at, whole_seconds(before.claimed_at - before.made_at))
    if after.claimed_at is not None:
        pace = delivered(pace, after.claimed_at, whole_seconds(after.claimed_at - after.made_at))
    facts.remember(key, pace)


def _overpromised(facts: Facts, key: str, promise: Promise, now: Course) -> None:
    """What was overpromised is so while it is owed and unclaimed, until it is moved to what is realistic.

    Realistic is what was, as known when the promise was made. A dispute begins anew.
    """
    realistic = facts.recall(f"realistic:{key}", Realistic)
    if realistic is None or promise.standing == "ended":
        return
    if now.claimed_at is None and now.latest_due_at - promise.made_at < timedelta(seconds=realistic.seconds):
        since, detail = now.disputed_at or promise.made_at, dict(realistic.detail)
        facts.open(key, "overpromised", since, customer_id=promise.customer_id, detail=detail)
    else:
        facts.close(key, "overpromised")
