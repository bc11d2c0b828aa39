"""What the read side keeps of a problem: numbers where the rules need sets, and the cause and the plan besides.

What happened between a problem and each customer it touches are facts, one row each, and no part of this state: a
problem may touch thousands, and each event would repeat them all.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ledger.domain.disclosures import DisclosureMade
from ledger.domain.model import Event, Happened
from ledger.domain.problem_messages import (
    ActionPlanned,
    CauseRecorded,
    CustomersAffected,
    OwnershipTaken,
    ProblemConcernOpened,
    ProblemConcernSettled,
    ProblemCustomerWithheld,
    ProblemDetected,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
)
from ledger.storage.entries import StoredEntry

Row = tuple[Any, ...]


class ProblemRow(NamedTuple):
    """One problem as it stands. The cause is the one recorded last; `steps` and `addresses` are those of all plans."""

    problem_id: str
    customer_id: str
    version: int
    owner: str
    severity: int
    detected_by: str
    known_since: datetime
    detected_at: datetime
    causes: int = 0
    cause_class: str | None = None
    control: str | None = None
    cause_basis: str | None = None
    steps: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    concerns_open: int = 0
    cycle: int = 1
    resolved_at: datetime | None = None
    root_cause_addressed: bool | None = None


def evolve(state: ProblemRow | None, event: Event, happened: Happened) -> ProblemRow:
    """The problem after `event`."""
    if isinstance(event, ProblemDetected):
        return _detected(event, happened)
    assert state is not None
    problem = state._replace(version=state.version + 1)
    match event:
        case OwnershipTaken(owner=owner):
            return problem._replace(owner=owner)
        case CauseRecorded(cause_class=cause_class, control=control, basis=basis):
            return problem._replace(
                causes=problem.causes + 1, cause_class=cause_class, control=control, cause_basis=basis
            )
        case ActionPlanned(steps=steps, addresses=addresses):
            known = dict.fromkeys((*problem.addresses, *addresses))
            return problem._replace(steps=(*problem.steps, *steps), addresses=tuple(known))
        case ProblemConcernOpened():
            return problem._replace(concerns_open=problem.concerns_open + 1)
        case ProblemConcernSettled():
            return problem._replace(concerns_open=problem.concerns_open - 1)
        case ResolutionClaimed(root_cause_addressed=root_cause_addressed):
            return problem._replace(resolved_at=happened.occurred_at, root_cause_addressed=root_cause_addressed)
        case ResolutionFailed():
            return problem._replace(cycle=problem.cycle + 1, resolved_at=None, root_cause_addressed=None)
    return problem


def _detected(event: ProblemDetected, happened: Happened) -> ProblemRow:
    assert event.customer_id is not None
    return ProblemRow(
        problem_id=event.problem_id,
        customer_id=event.customer_id,
        version=1,
        owner=event.owner,
        severity=event.severity,
        detected_by=event.detected_by,
        known_since=event.known_since,
        detected_at=happened.occurred_at,
    )


def with_customers(entry: StoredEntry) -> Iterator[Row]:
    """What happened between a problem and customers, as rows of `problem_customers`.

    Whoever was told was told by each disclosure about the problem, also by one recorded late: not by the first alone,
    which is all that the problem's own stream knows.
    """
    event, at = entry.event, entry.happened.occurred_at
    match event:
        case ProblemDetected(problem_id=problem_id, affected=affected, known_since=known_since):
            for customer_id in affected:
                yield _fact(entry, problem_id, customer_id, "affected", known_since=known_since)
        case CustomersAffected(problem_id=problem_id, affected=affected):
            for customer_id in affected:
                yield _fact(entry, problem_id, customer_id, "affected", known_since=at)
        case DisclosureMade(about_problem_id=str(problem_id), disclosure_id=disclosure_id, customer_id=customer_id):
            yield _fact(entry, problem_id, customer_id, "told", disclosure_id=disclosure_id)
        case ProblemCustomerWithheld(problem_id=problem_id, customer_id=customer_id, review_at=review_at):
            yield _fact(
                entry, problem_id, customer_id, "withheld", disclosure_id=event.disclosure_id, review_at=review_at
            )
        case ResolutionVerified(problem_id=problem_id, customer_id=customer_id):
            yield _fact(entry, problem_id, customer_id, "verified")
        case ResolutionFailed(problem_id=problem_id, customer_id=customer_id):
            yield _fact(entry, problem_id, customer_id, "failed")


def _fact(
    entry: StoredEntry,
    problem_id: str,
    customer_id: str,
    what: str,
    *,
    known_since: datetime | None = None,
    disclosure_id: str | None = None,
    review_at: datetime | None = None,
) -> Row:
    happened = entry.happened
    return (
        entry.leaf_index,
        customer_id,
        problem_id,
        what,
        known_since,
        disclosure_id,
        review_at,
        happened.occurred_at,
        happened.recorded_at,
        happened.actor,
    )
