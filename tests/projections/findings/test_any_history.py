"""Whatever history the rules let happen, the findings are those that the states themselves call for.

What is expected is said once more here, from the states of the domain alone: nothing of the fold is used. So a finding
that some order of events loses, or leaves open, shows.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.domain import dispatch
from ledger.domain.assumptions import Assumption, ConfirmAssumption, RefuteAssumption
from ledger.domain.concerns import AcknowledgeConcern, AddressConcern, Concern, ConfirmConcern, RaiseConcern
from ledger.domain.deadlines import ExpireCondition
from ledger.domain.disclosures import About, CorrectDisclosure, Disclosure, FalsifyDisclosure, MakeDisclosure
from ledger.domain.errors import Refused
from ledger.domain.followups import CompleteFollowUp, FollowUpAbout, ScheduleFollowUp
from ledger.domain.model import Command, State
from ledger.domain.problem_messages import AffectCustomers, CauseRecorded, DetectProblem, RecordCause
from ledger.domain.promise_messages import (
    AcceptPromise,
    BreakPromise,
    ClaimPromiseKept,
    Condition,
    DisputePromise,
    MakePromise,
    MeetCondition,
    PromiseTerms,
    ReassignPromise,
    ReleasePromise,
    ReschedulePromise,
    ResumePromise,
    SupersedePromise,
    SuspendPromise,
    VerifyPromise,
)
from ledger.domain.promise_state import Promise, late_against_original, timeliness
from projections.findings import fold
from projections.findings.facts import DEFAULT_HOURS, Facts
from tests.domain.story import Fact, day, order
from tests.projections.findings.story import Shelf, entry

Open = tuple[str, str]
CODES = {
    "overdue",
    "kept-late",
    "claimed-not-verified",
    "handover-unaccepted",
    "unowned",
    "assumption-open",
    "rests-on-falsehood",
    "correction-owed",
    "divergent-reason",
    "concern-unacknowledged",
    "concern-unaddressed",
}
CLASSES = ("transport", "stock")
OWNERS = ("u-1", "u-1", "u-2", "C-1")
MUCH_LATER = day(1) + timedelta(days=4000)
TEXT = {"text": "x"}


def _limit(name: str) -> timedelta:
    return timedelta(hours=DEFAULT_HOURS[name])


class History:
    """One customer, two promises, two problems, a concern; some time goes by from one command to the next."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.at = day(1)
        self.states: dict[str, State] = {}
        self.facts = Facts(Shelf())
        self.log: list[Fact] = []
        self.accepted: list[Command] = []
        self.handed_over: dict[str, datetime] = {}
        self._send(MakePromise, **self._terms("P-1"))
        for problem_id in ("X-1", "X-2"):
            members: dict[str, Any] = {"known_since": day(1), "detected_by": "us", "summary": "x", "severity": 3}
            self._send(DetectProblem, problem_id=problem_id, affected=("C-1",), owner="u-1", **members)

    def go_on(self) -> None:
        """Some command, refused or not, or nothing at all."""
        chance, which = self.chance, f"P-{self.chance.randint(1, 2)}"
        promise, told = {"promise_id": which}, {"disclosure_id": f"D-{chance.randint(1, 3)}"}
        problem = {"problem_id": f"X-{chance.randint(1, 2)}"}
        soon = self.at + timedelta(hours=chance.randint(12, 110))
        settled = chance.choice([promise, {"promise_id": None, **told}])
        choices: list[tuple[Any, dict[str, Any]]] = [
            (MakePromise, self._terms(which)),
            (ClaimPromiseKept, promise),
            (VerifyPromise, {**promise, "verified_by": "u-9"}),
            (DisputePromise, {**promise, **TEXT}),
            (ReschedulePromise, {**promise, **told, "new_due_at": soon}),
            (SuspendPromise, {**promise, "reason": "x", "review_at": MUCH_LATER}),
            (ResumePromise, promise),
            (MeetCondition, promise),
            (ExpireCondition, {**promise, "condition_by": self._condition_by(which)}),
            (MeetCondition, {**promise, "occurred_at": min(self.at, self._condition_by(which))}),  # perhaps told late
            (chance.choice([ReassignPromise, AcceptPromise]), {**promise, "owner": chance.choice(OWNERS)}),
            *[(MakeDisclosure, self._telling(told))] * 2,
            (CorrectDisclosure, self._correction(told)),
            (FalsifyDisclosure, {**told, "known_since": self.at, "why": "x"}),
            (chance.choice([ConfirmAssumption, RefuteAssumption]), {**settled, "evidence": "e"}),
            (RecordCause, {**problem, "cause_class": chance.choice(CLASSES), "control": "within", "basis": "assumed"}),
            (AffectCustomers, {**problem, "affected": (), "promises": (which,)}),
            (RaiseConcern, {"concern_id": "Q-1", "customer_id": "C-1", **TEXT, **chance.choice([{}, problem])}),
            (AcknowledgeConcern, {"concern_id": "Q-1", "restated": "x"}),
            (AddressConcern, {"concern_id": "Q-1", "how": "x", "by": "u-1"}),
            (ConfirmConcern, {"concern_id": "Q-1"}),
            (ScheduleFollowUp, self._followup(which)),
        ]
        self.at += timedelta(hours=chance.choice([0, 0, 0, 0, 5, 30, 100]))
        kind, members = chance.choice(choices)
        if chance.random() < 0.02:
            ends: list[tuple[Any, dict[str, Any]]] = [
                (BreakPromise, {**promise, "reason_code": "stock", **TEXT}),
                (ReleasePromise, {**promise, "evidence": "e"}),
                (SupersedePromise, {**promise, **told, "promise": PromiseTerms(**self._terms(f"P-{len(self.log)}"))}),
            ]
            kind, members = chance.choice(ends)
        self._send(kind, **members)
        if kind is ScheduleFollowUp:
            self._send(CompleteFollowUp, followup_id=members["followup_id"], outcome="does_not_work")

    def _terms(self, promise_id: str) -> dict[str, Any]:
        return {
            "promise_id": promise_id,
            "customer_id": "C-1",
            "kind": "fix",
            **TEXT,
            "owner": self.chance.choice(OWNERS),
            "channel": "phone",
            "basis": self.chance.choice(["known", "assumed"]),
            "due_at": self.at + timedelta(hours=self.chance.randint(101, 200)),
            "verification": self.chance.choice(["required", "not_required"]),
            "based_on": self._known(1),
            "for_team": self.chance.choice([None, None, None, "T-1"]),
            "condition": self.chance.choice([None, None, None, Condition(**TEXT, by=self.at + timedelta(hours=90))]),
        }

    def _condition_by(self, promise_id: str) -> datetime:
        promise = self.states.get(f"promise:{promise_id}")
        return promise.condition_by or self.at if isinstance(promise, Promise) else self.at

    def _telling(self, told: dict[str, Any]) -> dict[str, Any]:
        about = self.chance.choice(
            [{"promise_id": "P-1"}, {"promise_id": "P-2"}, {"problem_id": "X-1"}, {"concern_id": "Q-1"}]
        )
        return {
            **told,
            "customer_id": "C-1",
            "about": About(**about),
            **TEXT,
            "owner": self.chance.choice(OWNERS),
            "apology": False,
            "channel": "phone",
            "basis": self.chance.choice(["known", "assumed"]),
            "reason_class": self.chance.choice([None, *CLASSES]),
            "based_on": self._known(2),
        }

    def _correction(self, told: dict[str, Any]) -> dict[str, Any]:
        corrects = told["disclosure_id"]
        members = self._telling({"disclosure_id": f"{corrects}-{len(self.log)}"})
        return {name: member for name, member in members.items() if name != "about"} | {"corrects": corrects}

    def _followup(self, which: str) -> dict[str, Any]:
        about = self.chance.choice([{"promise_id": which}, {"concern_id": "Q-1"}])
        owed: dict[str, Any] = {"customer_id": "C-1", "due_at": MUCH_LATER, "owner": "u-1"}
        return {"followup_id": f"F-{len(self.log)}", "about": FollowUpAbout(**about), **owed}

    def _known(self, most: int) -> tuple[str, ...]:
        return tuple(f"D-{self.chance.randint(1, 3)}" for _ in range(self.chance.randint(0, most)))

    def _send(self, kind: Any, /, **members: Any) -> None:
        self.at += timedelta(minutes=50)
        occurred_at = members.pop("occurred_at", self.at)
        command: Command = order(kind, occurred_at=occurred_at, **members)
        try:
            events = dispatch.decide(command, self.states.get, self.at)
        except Refused:
            return
        self.accepted.append(command)
        promises = ((stream, state) for stream, state in self.states.items() if isinstance(state, Promise))
        ended = {stream: state.ended_at for stream, state in promises if state.ended_at is not None}
        for event in events:
            fact = Fact(event, occurred_at, "u-2")
            written = entry(len(self.log), fact, self.at)
            self.log.append(fact)
            self.states[event.stream] = dispatch.evolve(self.states.get(event.stream), event, written.happened)
            fold.apply(self.facts, written)
            again = event.TOPIC == "promise.disputed" and event.stream in ended
            if again or event.TOPIC in ("promise.made", "promise.reassigned"):
                self.handed_over[event.stream] = self.at
            if event.TOPIC == "promise.activated" and event.stream in ended:  # it was no end
                self.handed_over[event.stream] = ended[event.stream]

    def open(self, now: datetime) -> list[Open]:
        """What the fold says is open."""
        return sorted(
            (each.code, each.subject)
            for each in self.facts.opened.values()
            if each.code in CODES and each.opened_at <= now and (each.closed_at is None or now < each.closed_at)
        )

    def called_for(self, now: datetime) -> Iterator[Open]:
        """What the states call for."""
        for stream, state in self.states.items():
            if isinstance(state, Promise):
                yield from ((code, stream) for code in self._of_promise(state, now))
            elif isinstance(state, Disclosure) and not state.corrected_by:
                yield from ((code, stream) for code in self._of_disclosure(state, now))
            elif isinstance(state, Concern):
                yield from ((code, stream) for code in self._of_concern(state, now))

    def _of_promise(self, promise: Promise, now: datetime) -> Iterator[str]:
        if timeliness(promise, now) == "late" or late_against_original(promise):
            yield "kept-late"
        if promise.standing == "ended":
            return
        if timeliness(promise, now) == "overdue":
            yield "overdue"
        if promise.fulfilment == "claimed":
            yield "claimed-not-verified"
        if promise.owner == "C-1":
            yield "unowned"
        waits = promise.pending_owner is not None or not promise.accepted
        if waits and now >= self.handed_over[f"promise:{promise.promise_id}"] + _limit("accept_within_hours"):
            yield "handover-unaccepted"
        settled = self.states.get(f"assumption:promise:{promise.promise_id}")
        if promise.basis == "assumed" and not settled and now >= promise.made_at + _limit("confirm_within_hours"):
            yield "assumption-open"
        refuted = isinstance(settled, Assumption) and settled.outcome == "refuted"
        if refuted or any(self._untrue(each) for each in promise.based_on):
            yield "rests-on-falsehood"

    def _of_disclosure(self, disclosure: Disclosure, now: datetime) -> Iterator[str]:
        key = disclosure.disclosure_id
        if disclosure.owner == "C-1":
            yield "unowned"
        settled = f"assumption:disclosure:{key}" in self.states or disclosure.falsified_at is not None
        if disclosure.basis == "assumed" and not settled and now >= disclosure.made_at + _limit("confirm_within_hours"):
            yield "assumption-open"
        if self._untrue(key):
            yield "correction-owed"
        if any(self._untrue(each) for each in disclosure.based_on):
            yield "rests-on-falsehood"
        made: Any = next(fact.event for fact in self.log if getattr(fact.event, "disclosure_id", None) == key)
        causes = [self._cause(problem_id) for problem_id in self._problems(disclosure)]
        if made.reason_class and any(each not in (None, made.reason_class) for each in causes):
            yield "divergent-reason"

    def _of_concern(self, concern: Concern, now: datetime) -> Iterator[str]:
        since = concern.raised_at
        for fact in self.log:
            since = fact.at if fact.event.TOPIC == "concern.reopened" else since
        if (
            not concern.acknowledged_at
            and not concern.confirmed_at
            and now >= since + _limit("acknowledge_within_hours")
        ):
            yield "concern-unacknowledged"
        if not concern.addressed_at and now >= since + _limit("address_within_hours"):
            yield "concern-unaddressed"

    def _untrue(self, disclosure_id: str) -> bool:
        state = self.states[f"disclosure:{disclosure_id}"]
        assert isinstance(state, Disclosure)
        return state.falsified_at is not None or any(self._untrue(each) for each in state.based_on)

    def _problems(self, disclosure: Disclosure) -> set[str]:
        """The problems whose causes its reason is held against."""
        if disclosure.about_concern_id is not None:
            concern = self.states[f"concern:{disclosure.about_concern_id}"]
            assert isinstance(concern, Concern)
            return {concern.problem_id} if concern.problem_id else set()
        if disclosure.about_problem_id is not None:
            return {disclosure.about_problem_id}
        touched: list[Any] = [self.states["problem:X-1"], self.states["problem:X-2"]]
        return {each.problem_id for each in touched if disclosure.about_promise_id in each.promises}

    def _cause(self, problem_id: str) -> str | None:
        """The newest."""
        causes = [fact.event for fact in self.log if isinstance(fact.event, CauseRecorded)]
        return next((each.cause_class for each in reversed(causes) if each.problem_id == problem_id), None)


@pytest.mark.parametrize("first", [0, 50, 100])
def test_what_is_open_is_what_the_states_call_for(first: int) -> None:
    for seed in range(first, first + 50):
        history = History(seed)
        for _ in range(60):
            history.go_on()
            now = history.at + timedelta(minutes=1)
            assert history.open(now) == sorted(history.called_for(now)), (seed, history.log)
