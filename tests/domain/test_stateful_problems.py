"""Any history of a problem that the rules let happen: its own stream knows what the other streams say of it."""

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.domain import dispatch
from ledger.domain.concerns import AddressConcern, Concern, ConfirmConcern, RaiseConcern, WithdrawConcern
from ledger.domain.disclosures import (
    About,
    Disclosure,
    FalsifyDisclosure,
    MakeDisclosure,
    WithholdDisclosure,
    Withholding,
)
from ledger.domain.errors import Refused
from ledger.domain.followups import CompleteFollowUp, FollowUpAbout, ScheduleFollowUp
from ledger.domain.model import Event, Happened, State
from ledger.domain.problem_messages import (
    AffectCustomers,
    DetectProblem,
    ReportProblem,
    ResolutionClaimed,
    ResolveProblem,
    VerifyResolution,
)
from ledger.domain.problems import Problem
from tests.domain.story import day, no_objection, order

WHO = st.sampled_from(["C-1", "C-2", "C-3"])
RAISED_BY = {"Q-1": "C-1", "Q-2": "C-2"}
CONCERNS = st.sampled_from(sorted(RAISED_BY))
SETTLE: list[Any] = [AddressConcern, WithdrawConcern, ConfirmConcern]
TEXT = {"text": "x"}


class Problems(RuleBasedStateMachine):
    """One problem, three customers, two concerns; time goes on by an hour from one command to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.at = day(1)
        self.states: dict[str, State] = {}
        self.facts: list[tuple[Event, Happened]] = []
        self.ids = 0

    @initialize()
    def detect(self) -> None:
        members: dict[str, Any] = {"known_since": day(1), "detected_by": "us", "summary": "x", "severity": 2}
        self._send(DetectProblem, problem_id="X-1", affected=("C-1",), owner="u-1", **members)

    @rule(customer_id=WHO)
    def affect(self, customer_id: str) -> None:
        self._send(AffectCustomers, problem_id="X-1", affected=(customer_id,))

    @rule(customer_id=WHO)
    def report(self, customer_id: str) -> None:
        self._send(ReportProblem, problem_id="X-1", customer_id=customer_id, **TEXT)

    @rule(customer_id=WHO)
    def tell(self, customer_id: str) -> None:
        members: dict[str, Any] = {"owner": "u-1", "apology": True, "channel": "chat", "basis": "known"}
        self._send(MakeDisclosure, disclosure_id=self._id("D"), customer_id=customer_id, about=About(problem_id="X-1"),
                   **TEXT, **members)  # fmt: skip

    @rule(customer_id=WHO, hours=st.integers(0, 6))
    def withhold(self, customer_id: str, hours: int) -> None:
        review_at = self.at + timedelta(hours=hours)
        self._send(WithholdDisclosure, disclosure_id=self._id("D"), customer_id=customer_id, problem_id="X-1", why="x",
                   approver="u-9", review_at=review_at)  # fmt: skip

    @rule(number=st.integers(1, 4))
    def falsify(self, number: int) -> None:
        self._send(FalsifyDisclosure, disclosure_id=f"D-{number}", known_since=day(1), why="x")

    @rule(concern_id=CONCERNS)
    def worry(self, concern_id: str) -> None:
        self._send(RaiseConcern, concern_id=concern_id, customer_id=RAISED_BY[concern_id], problem_id="X-1", **TEXT)

    @rule(kind=st.sampled_from(SETTLE), concern_id=CONCERNS)
    def settle(self, kind: Any, concern_id: str) -> None:
        self._send(kind, concern_id=concern_id, **({"how": "x", "by": "u-1"} if kind is AddressConcern else {}))

    @rule(customer_id=WHO, concern_id=st.one_of(st.none(), CONCERNS))
    def find_that_it_does_not_work(self, customer_id: str, concern_id: str | None) -> None:
        about = FollowUpAbout(problem_id="X-1") if concern_id is None else FollowUpAbout(concern_id=concern_id)
        customer_id = customer_id if concern_id is None else RAISED_BY[concern_id]
        if concern_id is not None:
            self._send(AddressConcern, concern_id=concern_id, how="x", by="u-1")
        followup_id = self._id("F")
        self._send(ScheduleFollowUp, followup_id=followup_id, customer_id=customer_id, about=about, due_at=day(30),
                   owner="u-1")  # fmt: skip
        self._send(CompleteFollowUp, followup_id=followup_id, outcome="does_not_work")

    @rule()
    def resolve(self) -> None:
        self._send(ResolveProblem, problem_id="X-1", root_cause_addressed=True)

    @rule(customer_id=WHO, works=st.booleans())
    def verify(self, customer_id: str, works: bool) -> None:
        self._send(VerifyResolution, problem_id="X-1", customer_id=customer_id, works=works)

    def _id(self, letter: str) -> str:
        self.ids += 1
        return f"{letter}-{self.ids}"

    def _send(self, kind: Any, **members: Any) -> None:
        self.at += timedelta(hours=1)
        before = dict(self.states)
        try:
            events = dispatch.decide(order(kind, occurred_at=self.at, **members), self.states.get, self.at)
        except Refused:
            return
        happened = Happened(self.at, self.at, "u-2", "crm")
        no_objection(events, happened, self.states.get)
        for event in events:
            self.states[event.stream] = dispatch.evolve(self.states.get(event.stream), event, happened)
            self.facts.append((event, happened))
        if any(isinstance(event, ResolutionClaimed) for event in events):
            assert not open_concerns(before)
            assert self.problem.affected <= told(before) | withheld_from(before, self.at)

    @property
    def problem(self) -> Problem:
        problem = self.states["problem:X-1"]
        assert isinstance(problem, Problem)
        return problem

    @precondition(lambda self: self.states)
    @invariant()
    def the_problem_knows_what_the_others_say(self) -> None:
        assert self.problem.open_concerns == open_concerns(self.states)
        assert self.problem.told == told(self.states)
        assert self.problem.verified <= self.problem.affected
        assert not self.problem.verified or self.problem.resolved_at is not None

    @precondition(lambda self: self.states)
    @invariant()
    def a_rebuild_gives_the_same(self) -> None:
        states: dict[str, State] = {}
        for event, happened in self.facts:
            read_back = type(event).model_validate_json(event.model_dump_json())
            states[event.stream] = dispatch.evolve(states.get(event.stream), read_back, happened)
        assert states == self.states


def open_concerns(states: dict[str, State]) -> set[str]:
    """As the concerns say themselves."""
    return {each.concern_id for each in states.values() if isinstance(each, Concern) and each.is_open}


def told(states: dict[str, State]) -> set[str]:
    """As the disclosures say themselves."""
    return {each.customer_id for each in states.values() if isinstance(each, Disclosure)}


def withheld_from(states: dict[str, State], at: Any) -> set[str]:
    """As the last withholding from each says itself."""
    last = {each.customer_id: each.review_at for each in states.values() if isinstance(each, Withholding)}
    return {customer_id for customer_id, review_at in last.items() if review_at >= at}


TestProblems = Problems.TestCase
TestProblems.settings = settings(max_examples=50, stateful_step_count=30, deadline=None, database=None)
