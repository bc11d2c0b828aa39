"""The same facts about one promise, recorded in the order in which they occurred and in others: one present state.

Only orders that the rules accept are compared. Each fact keeps its `occurred_at`; what comes late is recorded later.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.domain import dispatch
from ledger.domain.errors import Refused
from ledger.domain.model import Command, Happened, State
from ledger.domain.offerings import OfferingPublished
from ledger.domain.policies import CalendarPublished
from ledger.domain.promise_messages import (
    BreakPromise,
    ClaimPromiseKept,
    Condition,
    DisputePromise,
    MakePromise,
    MeetCondition,
    PromiseRescheduled,
    PromiseResumed,
    ReleasePromise,
    ReschedulePromise,
    ResumePromise,
    SuspendPromise,
    VerifyPromise,
    WarnOfPromise,
)
from ledger.domain.promise_state import Promise, late_against_original, timeliness
from ledger.domain.turns import MOST_TURNS, Course, course
from projections.findings import fold
from projections.findings.facts import Facts
from tests.domain.story import Fact, day, no_objection, on, order, told
from tests.projections.findings.story import Shelf, entry

CODES = {
    "overdue",
    "no-warning",
    "kept-late",
    "rescheduled-after-due",
    "claimed-not-verified",
    "closed-by-silence",
    "overpromised",
}
HOUR = timedelta(hours=1)
OFFERED = on(1, OfferingPublished(offering_id="O-1", lead_time="P6D", valid_from=day(1)))
LATER = (HOUR, 40 * HOUR, 150 * HOUR, 400 * HOUR, 4000 * HOUR)
LAST = day(1) + timedelta(days=3000)
EVERY_HOUR = on(
    1,
    CalendarPublished(
        calendar_id="K-1",
        policy_id="default",
        effective_from=day(1),
        tzdata_version="2025b",
        time_zone="UTC",
        hours=tuple(f"{name} 00:00-24:00" for name in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
        covers_until="2030-12-31",
    ),
)
TEXT = {"text": "x"}
MADE: dict[str, Any] = {
    "customer_id": "C-1",
    "kind": "fix",
    **TEXT,
    "owner": "u-1",
    "channel": "phone",
    "basis": "known",
    "due_at": day(1) + 100 * HOUR,
}


class Ledger:
    """What was recorded, one command after another."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.facts = Facts(Shelf())
        self.recorded: list[Fact] = []
        for fact in (EVERY_HOUR, OFFERED, told(number=1)):
            self._write(fact, day(1))

    def take(self, command: Command, now: datetime) -> None:
        """Decided and recorded at `now`. Raises `Refused`."""
        events = dispatch.decide(command, self.states.get, now)
        no_objection(events, Happened(command.occurred_at, now, command.actor, "crm"), self.states.get)
        for event in events:
            self._write(Fact(event, command.occurred_at, command.actor), now)

    def _write(self, fact: Fact, now: datetime) -> None:
        written = entry(len(self.recorded), fact, now)
        self.recorded.append(fact)
        before = self.states.get(fact.event.stream)
        self.states[fact.event.stream] = dispatch.evolve(before, fact.event, written.happened)
        fold.apply(self.facts, written)

    @property
    def promise(self) -> Promise:
        promise = self.states["promise:P-1"]
        assert isinstance(promise, Promise)
        return promise

    def says(self, now: datetime) -> dict[str, Any]:
        """How the promise stands at `now`, and which findings about it are open."""
        promise = self.promise
        return {
            "timeliness": timeliness(promise, now),
            "late_against_original": late_against_original(promise),
            "outcome": (promise.fulfilment, promise.ended_as, promise.ended_at),
            "moments": (promise.due_at, promise.claimed_at, promise.latched, promise.warned_at, promise.paused_at),
            "open": sorted(
                (each.code, each.opened_at, sorted(each.detail.items()))
                for each in self.facts.opened.values()
                if each.code in CODES and each.opened_at <= now and (each.closed_at is None or now < each.closed_at)
            ),
        }


def making(chance: random.Random) -> Command:
    business = chance.random() < 0.3
    terms: dict[str, Any] = {
        "customer_id": "C-1",
        "kind": "fix",
        **TEXT,
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "offering_id": chance.choice([None, "O-1"]),
        "verification": chance.choice(["required", "required", "not_required"]),
        "condition": None if business else chance.choice([None, None, Condition(**TEXT, by=day(1) + 60 * HOUR)]),
    }
    due = {"due_in": "PT100H", "calendar_id": "K-1"} if business else {"due_at": day(1) + 100 * HOUR}
    command: Command = order(MakePromise, occurred_at=day(1), **terms, **due)
    return command


def something(chance: random.Random, at: datetime) -> Command:
    kind, members = chance.choice(
        [
            *[(ClaimPromiseKept, {})] * 4,
            *[(DisputePromise, TEXT)] * 3,
            *[(ReschedulePromise, {"disclosure_id": "D-1", "new_due_at": at + chance.randint(5, 150) * HOUR})] * 3,
            (WarnOfPromise, {"reason": "x"}),
            (SuspendPromise, {"reason": "x", "review_at": LAST}),
            (SuspendPromise, {"reason": "x", "review_at": LAST}),
            *[(ResumePromise, {})] * 2,
            *[(MeetCondition, {})] * 2,
            *[(kind, members) for kind, members in ENDS if chance.random() < 0.15],
        ]
    )
    command: Command = order(kind, occurred_at=at, **members)
    return command


ENDS: list[tuple[Any, dict[str, Any]]] = [
    (VerifyPromise, {"verified_by": "C-1"}),
    (BreakPromise, {"reason_code": "stock", **TEXT}),
    (ReleasePromise, {"evidence": "e"}),
]


def history(chance: random.Random) -> tuple[Ledger, list[Command]]:
    """What happened, each thing recorded as it occurred, and the commands that were accepted."""
    ledger, taken, at = Ledger(), [making(chance)], day(1)
    ledger.take(taken[0], at)
    for _ in range(14):
        at += chance.randint(1, 45) * HOUR
        command = something(chance, at)
        try:
            ledger.take(command, at)
        except Refused:
            continue
        taken.append(command)
    return ledger, taken


def in_another_order(commands: Sequence[Command], chance: random.Random) -> Ledger | None:
    """The same recorded otherwise, some of it late; None where the rules refuse some of that."""
    making, *others = commands
    for _ in range(chance.choice([1, 1, 2, 3])):
        late = others.pop(chance.randrange(len(others)))
        others.insert(chance.randrange(len(others) + 1), late)
    ledger, now = Ledger(), day(1)
    try:
        for command in (making, *others):
            now = max(now, command.occurred_at)
            ledger.take(command, now)
    except Refused:
        return None
    return ledger


def led_to(promise: Promise) -> Course:
    """Where all its turns led to, which is where each of them led from the one before."""
    led = course(promise)
    claimed_at = None if promise.ended_as == "broken" else led.claimed_at  # to break it withdraws the claim
    assert (led.due_at, claimed_at, led.latched) == (promise.due_at, promise.claimed_at, promise.latched)
    return led


def counted_otherwise(ledger: Ledger, in_order: Ledger) -> bool:
    """Whether a pause of business time came late: its events say other due times, which only a calendar could mend."""
    return resumptions(ledger) != resumptions(in_order)


def resumptions(ledger: Ledger) -> list[tuple[datetime, datetime | None, datetime | None]]:
    resumed = [(fact.at, fact.event) for fact in ledger.recorded if isinstance(fact.event, PromiseResumed)]
    return sorted(((at, event.old_due_at, event.new_due_at) for at, event in resumed), key=lambda each: each[0])


def shown(facts: Sequence[Fact]) -> Iterator[str]:
    for fact in facts:
        moved = fact.event.new_due_at if isinstance(fact.event, PromiseRescheduled | PromiseResumed) else ""
        yield f"{fact.at:%d %H} {fact.event.TOPIC} {moved}"


@pytest.mark.parametrize("first", [0, 100])
def test_the_order_of_recording_changes_no_answer(first: int) -> None:
    compared = 0
    for seed in range(first, first + 100):
        chance = random.Random(seed)
        in_order, commands = history(chance)
        for _ in range(6 if len(commands) > 2 else 0):
            other = in_another_order(commands, chance)
            if other is None or other.recorded == in_order.recorded or counted_otherwise(other, in_order):
                continue
            compared += 1
            assert led_to(other.promise) == led_to(in_order.promise)
            for later in LATER:
                now = commands[-1].occurred_at + later
                assert other.says(now) == in_order.says(now), (seed, *shown(other.recorded))
    assert compared > 100, compared


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_turns_that_are_given_up_change_no_answer_where_nothing_comes_late(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    given_up = 0
    for seed in range(150):
        whole, commands = history(random.Random(seed))
        with monkeypatch.context() as few:
            few.setattr("ledger.domain.turns.MOST_TURNS", most)
            shortened, again = history(random.Random(seed))
        assert again == commands
        given_up += "shortened" in shortened.promise.turns
        left = replace(course(shortened.promise), shortened_at=None, late_moves=[])
        assert left == replace(course(whole.promise), late_moves=[]), (seed, *shown(whole.recorded))
        for later in LATER:
            now = commands[-1].occurred_at + later
            assert shortened.says(now) == whole.says(now), (seed, *shown(whole.recorded))
    assert given_up > 10


def test_a_promise_that_is_moved_thousands_of_times_holds_nobody_up() -> None:
    ledger = Ledger()
    ledger.take(order(MakePromise, occurred_at=day(1), **MADE), day(1))
    began = time.process_time()
    for number in range(2_000):
        at = day(1) + number * timedelta(minutes=1)
        new_due_at = at + 200 * HOUR
        ledger.take(order(ReschedulePromise, occurred_at=at, disclosure_id="D-1", new_due_at=new_due_at), at)
    assert len(ledger.promise.turns) <= MOST_TURNS
    assert time.process_time() - began < 20, "seconds of processor time; all turns again for each took minutes"
