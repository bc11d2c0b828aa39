"""Acknowledging an overdue promise: somebody has seen it, so that nobody further up is called.

Who is called, and when, says the policy that the promise was made under (`deadlines.escalations_ahead`); the calls
themselves go out on the queue and are no events. An acknowledgement ends one round: a new due time or a dispute begins
the next. It changes nothing about the promise: it is as overdue as before.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ledger.domain.errors import Refused
from ledger.domain.lookups import existing
from ledger.domain.model import Command, Event, Happened, State, States
from ledger.domain.promise_messages import PromiseCommand, PromiseEvent
from ledger.domain.promise_state import Promise, moved
from ledger.domain.promises import require
from ledger.domain.turns import recorded_due_at

NOT_PAST_DUE: Final = "not-past-due"
ALREADY_ACKNOWLEDGED: Final = "already-acknowledged"
RULES: Mapping[str, str] = {
    NOT_PAST_DUE: "A promise is acknowledged as overdue once its present due time has passed, never beforehand.",
    ALREADY_ACKNOWLEDGED: "An overdue promise is acknowledged once, until its due time is moved or it is disputed.",
}


class AcknowledgeOverdue(PromiseCommand):
    """The actor has seen that it is overdue, and looks after it."""

    TYPE = "promise.acknowledge_overdue"


class PromiseOverdueAcknowledged(PromiseEvent):
    """Somebody has seen that it is overdue: its escalation ends, for this due time and cycle."""

    TOPIC = "promise.overdue_acknowledged"


COMMANDS: Final[tuple[type[Command], ...]] = (AcknowledgeOverdue,)
EVENTS: Final[tuple[type[Event], ...]] = (PromiseOverdueAcknowledged,)


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The acknowledgement; refused as `RULES` say."""
    assert isinstance(command, AcknowledgeOverdue)
    promise = existing(states, Promise, f"promise:{command.promise_id}")
    require(command.TYPE, promise)
    due_at = min(promise.due_at, recorded_due_at(promise))  # two only where a new due time was recorded late
    if promise.paused_at is not None or command.occurred_at <= due_at:
        still = "stands still" if promise.paused_at is not None else f"is due {due_at}"
        raise Refused(NOT_PAST_DUE, f"Promise {promise.promise_id} {still}: there is nothing to acknowledge yet.")
    if promise.overdue_acknowledged_at is not None:
        raise Refused(
            ALREADY_ACKNOWLEDGED,
            f"Somebody looks after promise {promise.promise_id} already, since {promise.overdue_acknowledged_at}.",
        )
    return (PromiseOverdueAcknowledged(promise_id=promise.promise_id, customer_id=promise.customer_id),)


def evolve(state: State | None, event: Event, happened: Happened) -> Promise:
    """The promise, knowing that somebody looks after it."""
    assert isinstance(state, Promise)
    return moved(state, event, happened, {"overdue_acknowledged_at": happened.occurred_at})
