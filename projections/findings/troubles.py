"""Findings about problems: who was told in time, who found it first, what became of the resolution, what came back."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter

from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.disclosures import DisclosureWithheld
from ledger.domain.erasures import ErasureRequested
from ledger.domain.problem_messages import (
    CauseRecorded,
    CustomersAffected,
    OwnershipTaken,
    ProblemDetected,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
)
from ledger.domain.promise_state import Promise
from projections.findings import erased, lateness, truth
from projections.findings.facts import Facts, Rules
from projections.findings.records import LAST, Fixed, Topic, Trouble, topic_key
from projections.findings.telling import UNTOLD, apology_owed

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
            _claimed(facts, key, customer_id, max(facts.at, trouble.resolved_at))


def _trouble(facts: Facts, key: str) -> Trouble:
    trouble = facts.recall(key, Trouble)
    assert trouble is not None
    return trouble


def _affects(facts: Facts, key: str, customers: Iterable[str], since: datetime) -> None:
    disclose_by = facts.by("disclose_within_hours", since)
    topics = {customer_id: topic_key(key, customer_id) for customer_id in customers}
    facts.prefetch([*topics.values(), *map(erased.key_of, topics)])
    for customer_id, topic in topics.items():
        facts.link("affected", key, customer_id)
        facts.link("affects", f"customer:{customer_id}", topic)
        known = facts.recall(topic, Topic) or Topic()
        facts.remember(topic, known._replace(affected_at=facts.at, disclose_by=disclose_by))
        if known.told is None or known.told[0] > disclose_by:
            facts.open(topic, "undisclosed-problem", disclose_by, subject=key, customer_id=customer_id)
            facts.closed_before(topic, "undisclosed-problem", known.told)
            _erased_before(facts, topic, customer_id, "undisclosed-problem")


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
    """Known to us, and this customer had not been told: nothing that happens later undoes that."""
    topic = topic_key(key, customer_id)
    known = facts.recall(topic, Topic)
    if known is None or known.told is None or known.told[0] > facts.at:
        facts.open(topic, "discovered-by-customer", facts.at, subject=key, customer_id=customer_id, earliest=True)


def _withheld(facts: Facts, event: DisclosureWithheld) -> None:
    """Lawful until its review: then it is untold like any other, unless it was told or withheld anew."""
    problem, customer_id = f"problem:{event.problem_id}", event.customer_id
    topic = topic_key(problem, customer_id)
    known = facts.recall(topic, Topic) or Topic()
    untold_from = event.review_at if known.disclose_by is None else max(event.review_at, known.disclose_by)
    findings = [
        ("undisclosed-problem", problem, untold_from),
        ("withheld-past-review", event.stream, event.review_at),
    ]
    trouble = facts.recall(problem, Trouble)
    if event.approver in (facts.happened.actor, None if trouble is None else _owner(trouble, facts.at)):
        findings.append(("withheld-self-approved", event.stream, facts.at))
    if known.withheld is not None and facts.at < known.withheld[0]:  # recorded late: it was withheld anew since
        for code, subject, opens_at in findings:
            if opens_at < known.withheld[0]:
                facts.past(topic, code, opens_at, known.withheld, subject=subject, customer_id=customer_id)
        return
    approver = None if event.approver == facts.happened.actor else event.approver
    withheld = known._replace(withheld=facts.dated, withholding=event.stream, approver=approver)
    facts.remember(topic, withheld)
    facts.link("withheld", problem, topic)
    facts.close(topic, "undisclosed-problem", "withheld-past-review", "withheld-self-approved")
    for code, subject, opens_at in findings:
        facts.open(topic, code, opens_at, subject=subject, customer_id=customer_id)


def _owned(facts: Facts, event: OwnershipTaken) -> None:
    trouble = _trouble(facts, event.stream)
    taken = zip((*trouble.owned_from, facts.at), (*trouble.owners, event.owner), strict=True)
    owners = sorted(taken, key=itemgetter(0))[-LAST:]
    owned = trouble._replace(owned_from=tuple(at for at, _ in owners), owners=tuple(each for _, each in owners))
    facts.remember(event.stream, owned)
    topics = facts.targets("withheld", event.stream)
    facts.prefetch(topics)
    for topic in topics:
        known = facts.recall(topic, Topic)
        if known is not None and known.withheld is not None and known.withheld[0] >= facts.at:
            _approved(facts, topic, known, _owner(trouble, known.withheld[0]), _owner(owned, known.withheld[0]))


def _approved(facts: Facts, topic: str, known: Topic, thought: str, owner: str) -> None:
    """Who owned the problem when it was withheld turns out to be `owner`."""
    if known.approver == thought != owner:
        slot = facts.slot(topic, "withheld-self-approved")
        facts.close(topic, "withheld-self-approved", at=None if slot is None else slot.opened_at)
    elif known.approver == owner != thought:
        assert known.withheld is not None
        customer_id = topic.rpartition("/")[2]
        since, subject = known.withheld[0], known.withholding
        facts.open(topic, "withheld-self-approved", since, subject=subject, customer_id=customer_id)
        facts.closed_before(topic, "withheld-self-approved", known.told)
        _erased_before(facts, topic, customer_id, "withheld-self-approved")


def _owner(trouble: Trouble, at: datetime) -> str:
    """Who owned the problem then: its first owner where nobody else had taken it."""
    taken = bisect_right(trouble.owned_from, at)
    return trouble.owner if taken == 0 else trouble.owners[taken - 1]


def _cause(facts: Facts, event: CauseRecorded) -> None:
    """The newest cause counts: of it what customers were told is held against, and what was said to be fixed.

    Newest is what was found last, not what was recorded last.
    """
    key = event.stream
    before = _caused(_trouble(facts, key), facts.at, (event.cause_class, event.control))
    if before.cause_at is not None and facts.at < before.cause_at:
        facts.remember(key, before)
        truth.cause_known(facts, key)
        return
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


def _caused(trouble: Trouble, at: datetime, cause: tuple[str, str]) -> Trouble:
    """The problem with that cause among the others."""
    causes = sorted(zip((*trouble.caused_at, at), (*trouble.causes, cause), strict=True), key=itemgetter(0))[-LAST:]
    return trouble._replace(caused_at=tuple(at for at, _ in causes), causes=tuple(each for _, each in causes))


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
    facts.prefetch([*(topic_key(key, each) for each in customers), *map(erased.key_of, customers)])
    for customer_id in customers:
        topic = facts.recall(topic_key(key, customer_id), Topic) or Topic()
        _claimed(facts, key, customer_id, max(facts.at, topic.affected_at or facts.at))
    if addressed:
        facts.close(key, "recurrence")
        _fixed(facts, key, trouble)


def _claimed(facts: Facts, key: str, customer_id: str, since: datetime) -> None:
    """We say that the problem is resolved: of an erased customer nobody's word is waited for."""
    topic = topic_key(key, customer_id)
    lateness.claimed(facts, topic, customer_id, key, at=since)
    _erased_before(facts, topic, customer_id, *_SILENT)


def _erased_before(facts: Facts, topic: str, customer_id: str, *codes: str) -> None:
    """What this entry has just opened ended with the customer's erasure, where there was one."""
    gone = erased.since(facts, customer_id)
    for code in codes:
        facts.closed_before(topic, code, gone)


def _erased(facts: Facts, event: ErasureRequested) -> None:
    """They can neither be told any more nor say whether it works: what waits for that is over.

    From when the ledger wrote it down: until then they could.
    """
    erased.close(facts, event)
    topics = facts.targets("affects", f"customer:{event.customer_id}")
    facts.prefetch(topics)
    for topic in topics:
        facts.close(topic, *UNTOLD, *_SILENT, "resolution-failed", at=facts.happened.recorded_at)


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
    if facts.slot(topic, "unapologised") is None:
        facts.remember(topic, (facts.recall(topic, Topic) or Topic())._replace(failed_at=facts.at))
    facts.open(topic, "resolution-failed", facts.at, subject=key, customer_id=customer_id)
    _erased_before(facts, topic, customer_id, "resolution-failed")
    apology_owed(facts, topic, [topic], customer_id, key)


RULES: Rules = {
    ProblemDetected: _detected,
    CustomersAffected: _affected,
    CustomerReportedProblem: _reported,
    DisclosureWithheld: _withheld,
    ErasureRequested: _erased,
    OwnershipTaken: _owned,
    CauseRecorded: _cause,
    ResolutionClaimed: _resolved,
    ResolutionVerified: _verified,
    ResolutionFailed: _failed,
}
