"""Problems: something wrong that touches customers, from its detection to what each customer says of the resolution.

What other families do about a problem is written to its stream too, in the same transaction (whom we told or withheld
it from, which concerns are open), so that the rules of a resolution are decided from this one stream. The words about
a problem are sealed under the key of the customer who was named first among those affected: write of nobody else in
them. Once that customer is erased, a cause or a resolution is recorded without words.

What it says on the wire is in problem_messages.py.
"""

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Final, NamedTuple

from pyrsistent import PMap, PSet, pmap, pset

from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.erasures import is_erased
from ledger.domain.errors import ID_TAKEN, NOT_AFFECTED, NOT_ALLOWED, Refused
from ledger.domain.lookups import existing, refuse_future, refuse_taken
from ledger.domain.model import Command, Event, Happened, State, States
from ledger.domain.problem_messages import (
    ROOT_CAUSE,
    ActionPlanned,
    AffectCustomers,
    CauseRecorded,
    CustomersAffected,
    DetectProblem,
    OwnershipTaken,
    PlanAction,
    ProblemCommand,
    ProblemConcernOpened,
    ProblemConcernSettled,
    ProblemCustomerTold,
    ProblemCustomerWithheld,
    ProblemDetected,
    ProblemEvent,
    RecordCause,
    ReportProblem,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
    ResolveProblem,
    TakeOwnership,
    VerifyResolution,
)
from ledger.domain.promise_state import Promise
from ledger.domain.promises import promise_made

BEYOND_WITHOUT_EVIDENCE: Final = "beyond-without-evidence"
OWNER_NOT_OURS: Final = "owner-not-ours"
ALREADY_AFFECTED: Final = "already-affected"
CONCERNS_OPEN: Final = "concerns-open"
CUSTOMERS_UNTOLD: Final = "customers-untold"
CONCERN_OF_ANOTHER: Final = "concern-of-another"
RULES: Mapping[str, str] = {
    BEYOND_WITHOUT_EVIDENCE: "A cause beyond our control is one on evidence only.",
    OWNER_NOT_OURS: "A problem is owned by a person or role on our side: never a customer, never a vendor.",
    ALREADY_AFFECTED: "`problem.affect` names somebody, or a promise, that the problem was not known to touch.",
    CONCERNS_OPEN: "A problem is not resolved while a concern about it is open.",
    CUSTOMERS_UNTOLD: "A problem is not resolved while an affected customer is neither told nor, with a review still "
    "ahead, withheld from; who was erased cannot be told.",
    CONCERN_OF_ANOTHER: "A plan addresses the root cause, or open concerns of its own problem.",
}


COMMANDS: Final[tuple[type[Command], ...]] = (
    DetectProblem,
    AffectCustomers,
    RecordCause,
    PlanAction,
    TakeOwnership,
    ResolveProblem,
    VerifyResolution,
    ReportProblem,
)
EVENTS: Final[tuple[type[Event], ...]] = (
    ProblemDetected,
    CustomersAffected,
    CauseRecorded,
    ActionPlanned,
    OwnershipTaken,
    ResolutionClaimed,
    ResolutionVerified,
    ResolutionFailed,
    ProblemCustomerTold,
    ProblemCustomerWithheld,
    ProblemConcernOpened,
    ProblemConcernSettled,
)


class Problem(NamedTuple):
    """One problem. It is resolved, as far as we say, while `resolved_at` is set; each customer has a say in that.

    What grows by one customer an event is persistent: copying a plain set for each of 100,000 customers costs minutes.
    """

    problem_id: str
    customer_id: str  # the first who was named: whose key seals the words
    version: int
    owner: str
    severity: int
    known_since: datetime
    affected: frozenset[str]
    promises: frozenset[str] = frozenset()
    told: PSet[str] = pset()
    withheld_until: PMap[str, datetime] = pmap()  # by customer: of the withholding that occurred last
    withheld_at: PMap[str, datetime] = pmap()  # that one
    withheld_as_recorded: PMap[str, datetime] = pmap()  # until when, of the one recorded last: earlier releases took it
    open_concerns: PSet[str] = pset()
    causes: int = 0
    cycle: int = 1  # a failed resolution opens the next
    resolved_at: datetime | None = None  # in this cycle
    root_cause_addressed: bool | None = None  # as claimed in this cycle
    verified: PSet[str] = pset()  # customers, in this cycle


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes; refused as `RULES` say."""
    match command:
        case DetectProblem():
            return (_detect(command, states),)
        case ReportProblem():
            return _report(command, states)
        case PlanAction():
            return _plan(command, existing(states, Problem, f"problem:{command.problem_id}"), states)
        case AffectCustomers():
            return (_affect(command, existing(states, Problem, f"problem:{command.problem_id}"), states),)
    assert isinstance(command, ProblemCommand)
    return (_event(command, existing(states, Problem, f"problem:{command.problem_id}"), states),)


def _event(command: ProblemCommand, problem: Problem, states: States) -> ProblemEvent:
    """What a command that concerns this problem alone becomes."""
    problem_id = problem.problem_id
    match command:
        case RecordCause():
            return _record_cause(command, problem)
        case TakeOwnership(owner=owner, owner_kind=owner_kind):
            if owner_kind not in ("person", "role"):
                raise Refused(OWNER_NOT_OURS, f"A {owner_kind} does not own problem {problem_id}: name one of us.")
            _refuse_customer_as_owner(owner, problem.affected)
            return OwnershipTaken(problem_id=problem_id, owner=owner, owner_kind=owner_kind)
        case ResolveProblem(root_cause_addressed=root_cause_addressed, text=text):
            _refuse_resolution(command, problem, states)
            return ResolutionClaimed(
                problem_id=problem_id,
                customer_id=None if text is None else problem.customer_id,
                root_cause_addressed=root_cause_addressed,
                text=text,
            )
        case VerifyResolution(customer_id=customer_id, works=works):
            _refuse_verification(command, problem)
            if works:
                return ResolutionVerified(problem_id=problem_id, customer_id=customer_id)
            return ResolutionFailed(problem_id=problem_id, customer_id=customer_id)
    raise AssertionError(command.TYPE)


def _detect(command: DetectProblem, states: States) -> ProblemDetected:
    refuse_taken(states, f"problem:{command.problem_id}")
    refuse_future("known_since", command.known_since, command.occurred_at)
    affected = tuple(dict.fromkeys(command.affected))
    _refuse_customer_as_owner(command.owner, frozenset(affected))
    _refuse_promises(states, command.promises, frozenset(affected), command.problem_id)
    return ProblemDetected(
        problem_id=command.problem_id,
        customer_id=affected[0],
        known_since=command.known_since,
        detected_by=command.detected_by,
        summary=command.summary,
        severity=command.severity,
        affected=affected,
        promises=command.promises,
        owner=command.owner,
    )


def _affect(command: AffectCustomers, problem: Problem, states: States) -> CustomersAffected:
    _refuse_customer_as_owner(problem.owner, frozenset(command.affected))
    affected = tuple(dict.fromkeys(each for each in command.affected if each not in problem.affected))
    promises = tuple(dict.fromkeys(each for each in command.promises if each not in problem.promises))
    if not affected and not promises:
        raise Refused(
            ALREADY_AFFECTED, f"Problem {problem.problem_id} was known to touch all of these: name others, or nothing."
        )
    _refuse_promises(states, promises, problem.affected.union(affected), problem.problem_id)
    return CustomersAffected(problem_id=problem.problem_id, affected=affected, promises=promises)


def _record_cause(command: RecordCause, problem: Problem) -> CauseRecorded:
    if command.control == "beyond" and command.evidence is None:
        raise Refused(
            BEYOND_WITHOUT_EVIDENCE,
            f"A cause of problem {problem.problem_id} beyond our control needs evidence: give it, or say within.",
        )
    return CauseRecorded(
        problem_id=problem.problem_id,
        customer_id=None if command.cause is None else problem.customer_id,
        cause_class=command.cause_class,
        cause=command.cause,
        control=command.control,
        evidence=command.evidence,
        basis=command.basis,
    )


def _plan(command: PlanAction, problem: Problem, states: States) -> tuple[Event, ...]:
    for concern_id in command.addresses:
        if concern_id != ROOT_CAUSE and concern_id not in problem.open_concerns:
            raise Refused(
                CONCERN_OF_ANOTHER,
                f"{concern_id} is no open concern about problem {problem.problem_id}: name one, or {ROOT_CAUSE}.",
            )
    promise_ids = tuple(step.promise_id for step in command.steps)
    for index, step in enumerate(command.steps):
        if step.promise_id in promise_ids[:index]:  # `states` does not know the steps before it yet
            raise Refused(ID_TAKEN, f"Two steps of the plan are promise {step.promise_id}: give each an id of its own.")
        if step.customer_kind == "external":
            _refuse_unaffected(step.customer_id, problem)
    planned = ActionPlanned(problem_id=problem.problem_id, steps=promise_ids, addresses=command.addresses)
    return planned, *(promise_made(step, command.occurred_at, states) for step in command.steps)


def _report(command: ReportProblem, states: States) -> tuple[Event, ...]:
    """The report; a customer who reports a problem not known to affect them is affected from then on."""
    reported = CustomerReportedProblem(
        customer_id=command.customer_id, problem_id=command.problem_id, text=command.text
    )
    if command.problem_id is None:
        return (reported,)
    problem = existing(states, Problem, f"problem:{command.problem_id}")
    if command.customer_id in problem.affected:
        return (reported,)
    return reported, CustomersAffected(problem_id=problem.problem_id, affected=(command.customer_id,))


def _refuse_customer_as_owner(owner: str, affected: frozenset[str]) -> None:
    if owner in affected:
        raise Refused(OWNER_NOT_OURS, f"{owner} is a customer whom the problem affects: name one of us as the owner.")


def _refuse_promises(states: States, promises: tuple[str, ...], affected: frozenset[str], problem_id: str) -> None:
    """Refused unless each promise exists and was made to an affected customer."""
    for promise_id in promises:
        promise = existing(states, Promise, f"promise:{promise_id}")
        if promise.customer_id not in affected:
            raise Refused(
                NOT_AFFECTED,
                f"Promise {promise_id} was made to customer {promise.customer_id}, whom problem {problem_id} does not "
                "affect: name that customer too.",
            )


def _refuse_unaffected(customer_id: str, problem: Problem) -> None:
    if customer_id not in problem.affected:
        raise Refused(
            NOT_AFFECTED,
            f"Problem {problem.problem_id} is not known to affect customer {customer_id}: send problem.affect first.",
        )


def _refuse_resolution(command: ResolveProblem, problem: Problem, states: States) -> None:
    if problem.resolved_at is not None:
        raise Refused(
            NOT_ALLOWED,
            f"Problem {problem.problem_id} was claimed resolved at {problem.resolved_at}: it opens again when a "
            "customer says that it does not work.",
        )
    if problem.open_concerns:
        raise Refused(
            CONCERNS_OPEN,
            f"Problem {problem.problem_id} has open concerns ({_some(problem.open_concerns)}): address them first.",
        )
    untold = {each for each in untold_customers(problem, command.occurred_at) if not is_erased(states, each)}
    if untold:  # who was erased cannot be told any more
        raise Refused(
            CUSTOMERS_UNTOLD,
            f"Problem {problem.problem_id} was neither told to nor withheld from {_some(untold)}: tell them first.",
        )


def untold_customers(problem: Problem, at: datetime) -> frozenset[str]:
    """The affected who are neither told nor lawfully withheld from at `at`: a withholding past its review is over."""
    withheld = {customer_id for customer_id, review_at in problem.withheld_until.items() if review_at >= at}
    return frozenset(each for each in problem.affected if each not in problem.told and each not in withheld)


def _some(ids: Set[str]) -> str:
    """The first five ids, and how many there are, so that no sentence grows without bound."""
    return ", ".join(sorted(ids)[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def _refuse_verification(command: VerifyResolution, problem: Problem) -> None:
    _refuse_unaffected(command.customer_id, problem)
    if problem.resolved_at is None:
        raise Refused(NOT_ALLOWED, f"Problem {problem.problem_id} is not claimed resolved: send problem.resolve first.")
    if command.works and command.customer_id in problem.verified:
        raise Refused(
            NOT_ALLOWED,
            f"Customer {command.customer_id} said already that the resolution of {problem.problem_id} works.",
        )


def disclosed(states: States, problem_id: str, customer_id: str, disclosure_id: str) -> tuple[Event, ...]:
    """What the problem's stream must know of a disclosure about it: nothing, where that customer was told before."""
    problem = _if_known(states, problem_id)
    if problem is None or customer_id in problem.told:
        return ()
    return (ProblemCustomerTold(problem_id=problem_id, customer_id=customer_id, disclosure_id=disclosure_id),)


def withheld(
    states: States, problem_id: str, customer_id: str, disclosure_id: str, review_at: datetime
) -> ProblemCustomerWithheld:
    """What the problem's stream must know of a withholding; refused where that customer was told, or is unaffected."""
    problem = existing(states, Problem, f"problem:{problem_id}")
    _refuse_unaffected(customer_id, problem)
    if customer_id in problem.told:
        raise Refused(NOT_ALLOWED, f"Customer {customer_id} was told of problem {problem_id}: it cannot be withheld.")
    return ProblemCustomerWithheld(
        problem_id=problem_id, customer_id=customer_id, disclosure_id=disclosure_id, review_at=review_at
    )


def _if_known(states: States, problem_id: str) -> Problem | None:
    """The problem; None where something was recorded about it before a problem had to be detected first."""
    problem = states(f"problem:{problem_id}")
    assert problem is None or isinstance(problem, Problem)
    return problem


def failed(states: States, problem_id: str, customer_id: str, followup_id: str) -> tuple[Event, ...]:
    """What a failed follow-up about the problem reopens: nothing, unless it is claimed resolved for that customer."""
    problem = _if_known(states, problem_id)
    if problem is None or problem.resolved_at is None or customer_id not in problem.affected:
        return ()
    return (ResolutionFailed(problem_id=problem_id, customer_id=customer_id, followup_id=followup_id),)


def evolve(state: State | None, event: Event, happened: Happened) -> Problem:
    """The problem after `event`."""
    if isinstance(event, ProblemDetected):
        return _new(event)
    assert isinstance(state, Problem)
    problem = state._replace(version=state.version + 1)
    match event:
        case CustomersAffected(affected=affected, promises=promises):
            return problem._replace(
                affected=problem.affected.union(affected), promises=problem.promises.union(promises)
            )
        case CauseRecorded():
            return problem._replace(causes=problem.causes + 1)
        case OwnershipTaken(owner=owner):
            return problem._replace(owner=owner)
        case ResolutionClaimed(root_cause_addressed=root_cause_addressed):
            return problem._replace(resolved_at=happened.occurred_at, root_cause_addressed=root_cause_addressed)
        case ResolutionVerified(customer_id=customer_id):
            return problem._replace(verified=problem.verified.add(customer_id))
        case ResolutionFailed():
            return problem._replace(
                cycle=problem.cycle + 1, resolved_at=None, root_cause_addressed=None, verified=pset()
            )
    return _heard_of(problem, event, happened.occurred_at)


def _heard_of(problem: Problem, event: Event, at: datetime) -> Problem:
    """The problem after what another family did about it."""
    match event:
        case ProblemCustomerTold(customer_id=customer_id):
            return problem._replace(told=problem.told.add(customer_id))
        case ProblemCustomerWithheld(customer_id=customer_id, review_at=review_at):
            recorded = problem._replace(withheld_as_recorded=problem.withheld_as_recorded.set(customer_id, review_at))
            if at < problem.withheld_at.get(customer_id, at):  # it was withheld anew since
                return recorded
            return recorded._replace(
                withheld_until=problem.withheld_until.set(customer_id, review_at),
                withheld_at=problem.withheld_at.set(customer_id, at),
            )
        case ProblemConcernOpened(concern_id=concern_id):
            return problem._replace(open_concerns=problem.open_concerns.add(concern_id))
        case ProblemConcernSettled(concern_id=concern_id):
            return problem._replace(open_concerns=problem.open_concerns.discard(concern_id))
    assert isinstance(event, ActionPlanned)
    return problem


def _new(event: ProblemDetected) -> Problem:
    assert event.customer_id is not None
    return Problem(
        problem_id=event.problem_id,
        customer_id=event.customer_id,
        version=1,
        owner=event.owner,
        severity=event.severity,
        known_since=event.known_since,
        affected=frozenset(event.affected),
        promises=frozenset(event.promises),
    )
