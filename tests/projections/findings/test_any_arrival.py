"""Whatever order the same facts are told in, the same is open: they count from when they occurred.

A random history is told in the order in which it happened, then with some of its commands delivered late, as from the
notepad of an outage. Only where every command is accepted as before are they the same facts.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.domain import dispatch
from ledger.domain.apologies import MakeApology
from ledger.domain.concerns import AcknowledgeConcern, AddressConcern, ConfirmConcern, RaiseConcern
from ledger.domain.customers import LoseCustomer
from ledger.domain.disclosures import About, CorrectDisclosure, FalsifyDisclosure, MakeDisclosure, WithholdDisclosure
from ledger.domain.errors import Refused
from ledger.domain.followups import AttemptFollowUp, FollowUpAbout, ScheduleFollowUp
from ledger.domain.model import Command, State
from ledger.domain.outages import ClearNote, DeclareOutage, EndOutage, FollowUpNote, TakeNote
from ledger.domain.problem_messages import (
    AffectCustomers,
    DetectProblem,
    RecordCause,
    ReportProblem,
    ResolveProblem,
    TakeOwnership,
    VerifyResolution,
)
from ledger.domain.promise_messages import BreakPromise, MakePromise
from projections.findings import fold
from projections.findings.customers import tails
from projections.findings.facts import Facts, Finding
from projections.findings.records import Customer
from tests.domain.story import Fact, day, order
from tests.projections.findings.story import Shelf, entry
from tests.projections.findings.test_any_history import History

TEXT = {"text": "x"}
CUSTOMERS = ("C-1", "C-2")
Open = tuple[str, str, str | None, datetime]


class Delivered:
    """What became of commands, delivered one after another; what was refused is left out."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.accepted: list[Command] = []
        self.events: list[Fact] = []
        self._facts = Facts(Shelf())
        states: dict[str, State] = {}
        now = day(1)
        for command in commands:
            now = max(now, command.occurred_at)
            try:
                events = dispatch.decide(command, states.get, now)
            except Refused:
                continue
            self.accepted.append(command)
            for event in events:
                fact = Fact(event, command.occurred_at, command.actor)
                written = entry(len(self.events), fact, now)
                self.events.append(fact)
                states[event.stream] = dispatch.evolve(states.get(event.stream), event, written.happened)
                fold.apply(self._facts, written)

    def told(self) -> Counter[str]:
        """The facts, in no order."""
        return Counter(f"{fact.at} {fact.event.TOPIC} {fact.event.model_dump_json()}" for fact in self.events)

    def _findings(self) -> Iterable[Finding]:
        yield from self._facts.opened.values()
        for customer_id in CUSTOMERS:
            customer = self._facts.recall(f"customer:{customer_id}", Customer)
            yield from tails(customer) if customer is not None else ()

    def open(self, at: datetime) -> set[Open]:
        """What is open then, and since when."""
        return {
            (each.code, each.subject, each.customer_id, each.opened_at)
            for each in self._findings()
            if each.opened_at <= at and (each.closed_at is None or at < each.closed_at)
        }


def history(seed: int) -> list[Command]:
    """Commands about a promise, a grave problem, a concern and an outage, in the order in which they happened."""
    chance = random.Random(seed)
    at = day(1)
    members: dict[str, Any] = {"known_since": at, "detected_by": "us", "summary": "x", "severity": 1}
    terms: dict[str, Any] = {"kind": "fix", "channel": "phone", "basis": "known", "due_at": day(28), "owner": "u-1"}
    commands: list[Command] = [
        order(DetectProblem, occurred_at=at, problem_id="X-1", affected=("C-1",), owner="u-1", **members),
        order(MakePromise, occurred_at=at, promise_id="P-1", customer_id="C-1", **TEXT, **terms),
        order(RaiseConcern, occurred_at=at, concern_id="Q-1", customer_id="C-1", severity=1, **TEXT),
        order(DeclareOutage, occurred_at=at, outage_id="O-1", tool="crm"),
    ]
    for number in range(40):
        at += timedelta(minutes=50) + timedelta(hours=chance.choice([0, 0, 5, 30]))
        kind, data = _any(chance, number, at)
        commands.append(order(kind, occurred_at=at, **data))
    return commands


def _any(chance: random.Random, number: int, at: datetime) -> tuple[Any, dict[str, Any]]:
    who = {"customer_id": "C-1"}
    before = {"disclosure_id": f"D-{chance.randrange(4)}"}
    about = chance.choice([{"promise_id": "P-1"}, {"problem_id": "X-1"}, {"problem_id": "X-1"}, {"concern_id": "Q-1"}])
    telling: dict[str, Any] = {
        **TEXT,
        "disclosure_id": f"D-{chance.choice([number, *range(4)])}",
        "owner": "u-1",
        "apology": chance.random() < 0.2,
        "channel": chance.choice(["email", "phone"]),
        "basis": chance.choice(["known", "assumed"]),
        "reason_class": chance.choice([None, "stock", "transport", "outage"]),
        "solution_ref": chance.choice([None, "S-1"]),
        "based_on": tuple(f"D-{chance.randrange(4)}" for _ in range(chance.randrange(3))),
    }
    reached = {"channel": chance.choice(["email", "phone"]), "reached": chance.random() < 0.7}
    known_since = at - timedelta(hours=chance.choice([0, 0, 20]))
    note = {"outage_id": "O-1", "capture_id": "N-1"}
    review = {"approver": chance.choice(["u-1", "u-7"]), "review_at": at + timedelta(hours=chance.randrange(10, 90))}
    owed = {"followup_id": f"F-{chance.randrange(3)}"}
    cause = {"cause_class": chance.choice(["stock", "transport"]), "control": "within", "basis": "assumed"}
    choices: list[tuple[Any, dict[str, Any]]] = [
        *[(MakeDisclosure, {**telling, **who, "about": About(**about)})] * 5,
        (MakeDisclosure, {**telling, "customer_id": "C-2", "about": About(problem_id="X-1")}),
        (CorrectDisclosure, {**telling, **who, "disclosure_id": f"K-{number}", "corrects": before["disclosure_id"]}),
        *[(FalsifyDisclosure, {**before, "known_since": known_since, "why": "x"})] * 2,
        (MakeApology, {**who, "apology_id": f"A-{number}", "for": about, "next_step": chance.choice([None, "x"])}),
        (ScheduleFollowUp, {**owed, **who, "about": FollowUpAbout(**chance.choice([before, about])), **_DUE}),
        *[(AttemptFollowUp, {**owed, **reached})] * 2,
        (ReportProblem, {"customer_id": chance.choice(CUSTOMERS), "problem_id": "X-1", **TEXT}),
        (AffectCustomers, {"problem_id": "X-1", "affected": ("C-2",), "promises": chance.choice([(), ("P-1",)])}),
        (WithholdDisclosure, {**who, "disclosure_id": f"W-{number}", "problem_id": "X-1", "why": "x", **review}),
        (TakeOwnership, {"problem_id": "X-1", "owner": "u-7"}),
        (RecordCause, {"problem_id": "X-1", **cause}),
        (ResolveProblem, {"problem_id": "X-1", "root_cause_addressed": True}),
        (VerifyResolution, {"problem_id": "X-1", **who, "works": chance.random() < 0.5}),
        (AcknowledgeConcern, {"concern_id": "Q-1", "restated": "x"}),
        (AddressConcern, {"concern_id": "Q-1", "how": "x", "by": "u-1"}),
        (ConfirmConcern, {"concern_id": "Q-1"}),
        (BreakPromise, {"promise_id": "P-1", "reason_code": "stock", "problem_id": "X-1", **TEXT}),
        (LoseCustomer, {"customer_id": "C-2", "attributed_to": "price"}),
        (TakeNote, {**note, **who, **TEXT, "captured_at": at, "read_back": False}),
        (ClearNote, {**note, "by": ("P-1",)}),
        (FollowUpNote, note),
        (EndOutage, {"outage_id": "O-1"}),
    ]
    return chance.choice(choices)


_DUE: dict[str, Any] = {"due_at": day(28) + timedelta(days=300), "owner": "u-1"}


def delayed(commands: Sequence[Command], chance: random.Random) -> list[Command]:
    """Some of them come late."""
    late = list(commands)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(late))
        late.insert(chance.randint(at, len(late) - 1), late.pop(at))
    return late


BY_CYCLE = {"concern-unacknowledged", "concern-unaddressed", "solution-before-listening"}
"""A word about a concern belongs to the cycle in which it is recorded, where one was reopened."""


def reopening(seed: int) -> list[Command]:
    """Commands about two promises and two problems, and a concern that may be reopened."""
    history = History(seed)
    for _ in range(50):
        history.go_on()
    return history.accepted


@pytest.mark.parametrize(
    ("histories", "seeds", "but", "enough"), [(history, 100, set(), 200), (reopening, 60, BY_CYCLE, 80)]
)
def test_what_is_told_late_leaves_the_same_open(
    histories: Callable[[int], list[Command]], seeds: int, but: set[str], enough: int
) -> None:
    compared = 0
    for seed in range(seeds):
        in_order = Delivered(histories(seed))
        chance = random.Random(seed)
        for _ in range(5):
            late = Delivered(delayed(in_order.accepted, chance))
            if len(late.accepted) < len(in_order.accepted) or late.told() != in_order.told():
                continue
            compared += 1
            end = in_order.accepted[-1].occurred_at
            for at in (end, end + timedelta(days=4000)):
                unlike = late.open(at) ^ in_order.open(at)
                assert {each for each in unlike if each[0] not in but} == set(), (seed, late.events)
    assert compared > enough
