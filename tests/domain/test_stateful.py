"""Any history that the rules let happen keeps the promises' invariants."""

from datetime import datetime, timedelta
from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.domain import dispatch, lifecycle, promises
from ledger.domain.deadlines import AnnounceDeadline, AnnounceWarning, ExpireCondition
from ledger.domain.errors import Refused
from ledger.domain.followups import CompleteFollowUp
from ledger.domain.model import Command, Event, Happened, State
from ledger.domain.promise_state import Promise, timeliness
from tests.domain.story import day, made, no_objection, order, scheduled, told, told_states

HOURS = st.sampled_from([0, 6, 30, 250])
WHO = st.sampled_from(["u-1", "u-2", "u-5", "C-1"])
ENDS = {"kept", "broken", "released", "superseded", "expired"}
TIMER: list[Any] = [AnnounceDeadline, AnnounceWarning, ExpireCondition]
ENDING: list[Any] = [promises.BreakPromise, promises.ReleasePromise, promises.SupersedePromise]
GOING_ON: list[Any] = [kind for kind in promises.COMMANDS if kind not in ENDING]


class Histories(RuleBasedStateMachine):
    """Commands of every kind in any order, time going on from one to the next; refused ones change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.at = day(1)
        self.states: dict[str, State] = {}
        self.facts: list[tuple[Event, Happened]] = []
        self.was_overdue = False

    @initialize(
        verification=st.sampled_from(get_args(lifecycle.Verification)),
        condition_day=st.sampled_from([None, None, 8]),
        for_team=st.sampled_from([None, "T-1"]),
    )
    def make(self, verification: str, condition_day: int | None, for_team: str | None) -> None:
        by = None if condition_day is None else day(condition_day)
        begin = made(verification=verification, condition_by=by, for_team=for_team)
        self.states = told_states([begin, told(number=1), scheduled(about_promise_id="P-1")])
        self.facts = [(begin.event, Happened(begin.at, begin.at, "u-1", "crm"))]

    @property
    def promise(self) -> Promise:
        promise = self.states["promise:P-1"]
        assert isinstance(promise, Promise)
        return promise

    @rule(kind=st.sampled_from(GOING_ON), hours=HOURS, who=WHO, days_on=st.integers(-2, 12))
    def go_on(self, kind: Any, hours: int, who: str, days_on: int) -> None:
        self._send(kind, hours, who, days_on)

    @rule(hours=HOURS, days_on=st.integers(1, 12))
    def reschedule(self, hours: int, days_on: int) -> None:
        self._send(promises.ReschedulePromise, hours, "u-1", days_on)

    @precondition(lambda self: len(self.facts) > 6)
    @rule(hours=HOURS)
    def claim_and_verify(self, hours: int) -> None:
        self._send(promises.ClaimPromiseKept, hours, "u-2", 0)
        self._send(promises.VerifyPromise, hours, "C-1", 0)

    @rule(hours=HOURS)
    def claim_and_find_that_it_does_not_work(self, hours: int) -> None:
        self._send(promises.ClaimPromiseKept, hours, "u-2", 0)
        self._send(CompleteFollowUp, hours, "u-2", 0)

    @rule(kind=st.sampled_from(TIMER), hours=HOURS)
    def announce(self, kind: Any, hours: int) -> None:
        self._send(kind, hours, "timer", 0)

    @precondition(lambda self: len(self.facts) > 6)
    @rule(kind=st.sampled_from(ENDING), hours=HOURS, days_on=st.integers(-2, 12))
    def end(self, kind: Any, hours: int, days_on: int) -> None:
        self._send(kind, hours, "u-1", days_on)

    def _send(self, kind: Any, hours: int, who: str, days_on: int) -> None:
        self.at += timedelta(hours=hours)
        command = self._command(kind, who, self.at + timedelta(days=days_on))
        before, overdue = self.promise, timeliness(self.promise, self.at) in ("overdue", "late")
        try:
            events = dispatch.decide(command, self.states.get, self.at)
        except Refused:
            return
        happened = Happened(self.at, self.at, who, "crm")
        no_objection(events, happened, self.states.get)
        for event in events:
            self.states[event.stream] = dispatch.evolve(self.states.get(event.stream), event, happened)
            if event.stream == "promise:P-1":
                self.facts.append((event, happened))
        self._compare(before, overdue, events)

    def _command(self, kind: type[Command], who: str, when: datetime) -> Command:
        terms: dict[str, Any] = {"customer_id": "C-1", "kind": "other", "text": "x"}
        terms |= {"owner": "u-1", "channel": "chat", "basis": "known"}
        members: dict[str, Any] = {
            "owner": who,
            "verified_by": who,
            "confirmed": True,
            "text": "x",
            "reason": "x",
            "reason_code": "x",
            "evidence": "x",
            "disclosure_id": "D-1",
            "followup_id": "F-1",
            "outcome": "does_not_work",
            "new_due_at": when,
            "review_at": when,
            "due_at": self.promise.due_at,
            "condition_by": self.promise.condition_by or when,
            "percent": 50,
            "promise": promises.PromiseTerms(**terms, promise_id="P-2", due_at=when),
        }
        if kind is promises.MakePromise:
            members |= terms
        named = {name: value for name, value in members.items() if name in kind.model_fields}
        command: Command = order(kind, **named | {"actor": who, "occurred_at": self.at})
        return command

    def _compare(self, before: Promise, overdue: bool, events: tuple[Event, ...]) -> None:
        after, topics = self.promise, [event.TOPIC for event in events]
        if before.standing == "ended" and after.standing != "ended":
            assert topics[-1] == "promise.disputed"
            assert (before.ended_as, before.fulfilment) == ("kept", "claimed")
        assert after.cycle == before.cycle + ("promise.disputed" in topics)
        assert after.original_due_at == before.original_due_at
        if overdue:
            assert timeliness(after, self.at) in ("overdue", "late"), "overdue is a latch"

    @precondition(lambda self: self.states)
    @invariant()
    def the_axes_agree_with_each_other(self) -> None:
        promise = self.promise
        assert (promise.standing == "ended") == (promise.ended_as in ENDS) == (promise.ended_at is not None)
        assert (promise.fulfilment == "none") == (promise.claimed_at is None) == (promise.claimed_by is None)
        assert promise.fulfilment != "verified" or promise.ended_as == "kept"
        assert promise.ended_as != "kept" or promise.fulfilment != "none"
        assert (promise.review_at is not None) == (promise.standing == "suspended")
        assert promise.cycle == promise.disputes + 1
        assert promise.version == len(self.facts)
        assert promise.pending_owner != promise.owner

    @precondition(lambda self: self.states)
    @invariant()
    def a_rebuild_gives_the_same(self) -> None:
        state: State | None = None
        for event, happened in self.facts:
            state = dispatch.evolve(state, type(event).model_validate_json(event.model_dump_json()), happened)
        assert state == self.promise


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, database=None)
