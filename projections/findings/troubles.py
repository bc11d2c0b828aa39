"""Findings about problems: who was told in time, who found it first, what became of the resolution, what came back."""

from collections.abc import Iterable
from datetime import datetime

from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.disclosures import DisclosureWithheld
from ledger.domain.problems import (
    CauseRecorded,
    CustomersAffected,
    OwnershipTaken,
    ProblemDetected,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
)
from ledger.domain.promises import Promise
from projections.findings import promises, truth
from projections.findings.facts import Facts, Rules
from projections.findings.records import Fixed, Topic, Trouble, topic_key
from projections.findings.telling import apology_owed

_SILENT = ("claimed-not-verified", "closed-by-silence")
_FIXES = 200
"""The last fixes of a root cause that count; older ones are those of other times."""


def _detected(facts: Facts, event: ProblemDetected) -> None:
    key = event.stream
    facts.remember(key, Trouble(event.known_since, event.severity, event.owner))
    _affects(facts, key, event.affected, event.known_since)
    _touches(facts, key, event.promises)
    if event.detected_by == "customer" and event.known_since < facts.at:
        _found_first(facts, key, event.affected[0])


def _affected(facts: Facts, event: CustomersAffected) -> None:
    """They are affected since we know that, whenever the problem itself became known."""
    key = event.stream
    _affects(facts, key, event.affected, facts.at)
    _touches(facts, key, event.promises)
    trouble = _trouble(facts, key)
    if trouble.resolved_at is not None:
        for customer_id in event.affected:
            promises.claimed(facts, topic_key(key, customer_id), customer_id, key)


def _trouble(facts: Facts, key: str) -> Trouble:
    trouble = facts.recall(key, Trouble)
    assert trouble is not None
    return trouble


def _affects(facts: Facts, key: str, customers: Iterable[str], since: datetime) -> None:
    disclose_by = facts.by("disclose_within_hours", since)
    topics = {customer_id: topic_key(key, customer_id) for customer_id in customers}
    facts.prefetch(topics.values())
    for customer_id, topic in topics.items():
        facts.link("affected", key, customer_id)
        known = facts.recall(topic, Topic) or Topic()
        if known.told_at is None:
            facts.remember(topic, known._replace(disclose_by=disclose_by))
            facts.open(topic, "undisclosed-problem", disclose_by, subject=key, customer_id=customer_id)


def _touches(facts: Facts, key: str, promise_ids: Iterable[str]) -> None:
    for promise_id in promise_ids:
        stream = f"promise:{promise_id}"
        promise = facts.recall(stream, Promise)
        assert promise is not None
        truth.touched(facts, key, promise)


def _reported(facts: Facts, event: CustomerReportedProblem) -> None:
    if event.problem_id is None:
        return
    key = f"problem:{event.problem_id}"
    trouble = facts.recall(key, Trouble)
    if trouble is not None and trouble.known_since < facts.at:
        _found_first(facts, key, event.customer_id)


def _found_first(facts: Facts, key: str, customer_id: str) -> None:
    """Known to us, and this customer had not been told: nothing undoes that."""
    topic = topic_key(key, customer_id)
    known = facts.recall(topic, Topic)
    if known is None or known.told_at is None or known.told_at > facts.at:
        facts.open(topic, "discovered-by-customer", facts.at, subject=key, customer_id=customer_id)


def _withheld(facts: Facts, event: DisclosureWithheld) -> None:
    """Lawful until its review: then it is untold like any other, unless it was told or withheld anew."""
    problem, customer_id = f"problem:{event.problem_id}", event.customer_id
    topic = topic_key(problem, customer_id)
    facts.close(topic, "undisclosed-problem", "withheld-past-review", "withheld-self-approved")
    known = facts.recall(topic, Topic) or Topic()
    untold_from = event.review_at if known.disclose_by is None else max(event.review_at, known.disclose_by)
    facts.open(topic, "undisclosed-problem", untold_from, subject=problem, customer_id=customer_id)
    facts.open(topic, "withheld-past-review", event.review_at, subject=event.stream, customer_id=customer_id)
    trouble = facts.recall(problem, Trouble)
    if event.approver in (facts.happened.actor, None if trouble is None else trouble.owner):
        facts.open(topic, "withheld-self-approved", facts.at, subject=event.stream, customer_id=customer_id)


def _owned(facts: Facts, event: OwnershipTaken) -> None:
    facts.remember(event.stream, _trouble(facts, event.stream)._replace(owner=event.owner))


def _cause(facts: Facts, event: CauseRecorded) -> None:
    """The newest cause counts: of it what customers were told is held against, and what was said to be fixed."""
    key = event.stream
    before = _trouble(facts, key)
    trouble = before._replace(cause_class=event.cause_class, control=event.control, cause_at=facts.at)
    facts.remember(key, trouble)
    _not_fixed(facts, key, before)  # what was said to be fixed is the cause as it is known now
    truth.cause_known(facts, key)
    fixed = facts.recall(f"fixed:{event.cause_class}", Fixed) or Fixed()
    before_it = [problem for problem, at in zip(*fixed, strict=True) if problem != key and at <= trouble.known_since]
    if before_it:
        detail = {"cause_class": event.cause_class, "fixed_with": before_it[-1].removeprefix("problem:")}
        facts.open(key, "recurrence", facts.at, detail=detail)
    else:
        facts.close(key, "recurrence")
    _fixed(facts, key, trouble)


def _fixed(facts: Facts, key: str, trouble: Trouble) -> None:
    if trouble.resolved_at is not None and trouble.root_cause_addressed and trouble.cause_class is not None:
        _not_fixed(facts, key, trouble)
        fixed = facts.recall(f"fixed:{trouble.cause_class}", Fixed) or Fixed()
        last = Fixed((*fixed.problems, key)[-_FIXES:], (*fixed.at, trouble.resolved_at)[-_FIXES:])
        facts.remember(f"fixed:{trouble.cause_class}", last)


def _not_fixed(facts: Facts, key: str, trouble: Trouble) -> None:
    """What was said of other problems stays said."""
    if trouble.cause_class is not None:
        fixed = facts.recall(f"fixed:{trouble.cause_class}", Fixed)
        if fixed is not None and key in fixed.problems:
            at = fixed.problems.index(key)
            problems, moments = fixed.problems[:at] + fixed.problems[at + 1 :], fixed.at[:at] + fixed.at[at + 1 :]
            facts.remember(f"fixed:{trouble.cause_class}", Fixed(problems, moments))


def _resolved(facts: Facts, event: ResolutionClaimed) -> None:
    key = event.stream
    addressed = event.root_cause_addressed
    trouble = _trouble(facts, key)._replace(resolved_at=facts.at, root_cause_addressed=addressed)
    facts.remember(key, trouble)
    customers = facts.targets("affected", key)
    facts.prefetch(topic_key(key, each) for each in customers)
    for customer_id in customers:
        promises.claimed(facts, topic_key(key, customer_id), customer_id, key)
    if addressed:
        facts.close(key, "recurrence")
        _fixed(facts, key, trouble)


def _verified(facts: Facts, event: ResolutionVerified) -> None:
    facts.close(topic_key(event.stream, event.customer_id), *_SILENT, "resolution-failed")


def _failed(facts: Facts, event: ResolutionFailed) -> None:
    """One failure opens the problem again for all: nobody's word is waited for until it is resolved anew."""
    key, customer_id = event.stream, event.customer_id
    trouble = _trouble(facts, key)
    _not_fixed(facts, key, trouble)
    facts.remember(key, trouble._replace(resolved_at=None, root_cause_addressed=False))
    customers = facts.targets("affected", key)
    facts.prefetch(topic_key(key, each) for each in customers)
    for each in customers:
        facts.close(topic_key(key, each), *_SILENT)
    topic = topic_key(key, customer_id)
    facts.open(topic, "resolution-failed", facts.at, subject=key, customer_id=customer_id)
    apology_owed(facts, topic, [topic], customer_id, key)


RULES: Rules = {
    ProblemDetected: _detected,
    CustomersAffected: _affected,
    CustomerReportedProblem: _reported,
    DisclosureWithheld: _withheld,
    OwnershipTaken: _owned,
    CauseRecorded: _cause,
    ResolutionClaimed: _resolved,
    ResolutionVerified: _verified,
    ResolutionFailed: _failed,
}
