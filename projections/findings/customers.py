"""Findings about customers as a whole: owed something and told nothing, or left alone altogether.

Both open so long after the last word, so they move with every word. The moment at which one opens next is a *tail*: a
column of the customer's row, and no row of its own. Only when somebody speaks after it had opened (by either clock) is
it a finding that was, and becomes a row.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from ledger.domain.apologies import ApologyMade
from ledger.domain.concerns import (
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernConfirmed,
    ConcernRaised,
    ConcernWithdrawn,
    UnknownAdmitted,
)
from ledger.domain.contacts import ContactRecorded
from ledger.domain.customers import CustomerLost, CustomerReportedProblem, CustomerReturned
from ledger.domain.disclosures import CorrectionDelivered, DisclosureAcknowledged, DisclosureMade
from ledger.domain.erasures import ErasureRequested
from ledger.domain.followups import FollowUpAttempted, FollowUpCompleted
from ledger.domain.model import Event
from ledger.domain.needs import NeedDeclined
from ledger.domain.outages import NoteFollowedUp, NoteTaken
from ledger.domain.problem_messages import ResolutionFailed, ResolutionVerified
from ledger.domain.promise_messages import (
    PromiseAtRisk,
    PromiseBroken,
    PromiseDisputed,
    PromiseKept,
    PromiseMade,
    PromiseReadBack,
    PromiseReleased,
)
from ledger.domain.questions import QuestionAnswered, QuestionAsked
from ledger.domain.surveys import SurveyAnswered, SurveySent
from projections.findings.facts import Facts, Finding
from projections.findings.records import Customer

SAID: Final[frozenset[type[Event]]] = frozenset(
    {
        PromiseMade,
        PromiseReadBack,
        PromiseAtRisk,
        PromiseBroken,
        DisclosureMade,
        CorrectionDelivered,
        ConcernAcknowledged,
        ConcernAddressed,
        UnknownAdmitted,
        FollowUpCompleted,
        NoteFollowedUp,
        ApologyMade,
        ContactRecorded,
        QuestionAsked,
        SurveySent,
        NeedDeclined,
        CustomerReturned,
    }
)
"""Words of ours to the customer. A follow-up that was attempted counts where it reached them."""

HEARD: Final[frozenset[type[Event]]] = frozenset(
    {
        PromiseKept,
        PromiseDisputed,
        PromiseReleased,
        DisclosureAcknowledged,
        ConcernRaised,
        ConcernWithdrawn,
        ConcernConfirmed,
        CustomerReportedProblem,
        ResolutionVerified,
        ResolutionFailed,
        NoteTaken,
        QuestionAnswered,
        SurveyAnswered,
    }
)
"""Words of the customer to us."""


_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""When an erased customer was lost: who speaks with us as somebody new does not come back as them."""

_Tail = tuple[datetime | None, int | None, datetime | None]
"""When it opens, by which event, recorded when."""

_NO_TAIL: Final[_Tail] = (None, None, None)
_SILENT: Final = ("silent-customer", -1)
_NEGLECTED: Final = ("neglected-customer", -2)
"""The code, and the number of the rows that a tail leaves: never one that `Facts` counts."""


def touch(facts: Facts, event: Event) -> None:
    """What any event means for its customer as a whole."""
    kind = type(event)
    said, heard, lost = kind in SAID, kind in HEARD, kind in (CustomerLost, ErasureRequested)
    if isinstance(event, FollowUpAttempted):
        said = event.reached
    if not (said or heard or facts.outstanding or lost):
        return
    assert event.customer_id is not None
    key = f"customer:{event.customer_id}"
    before = facts.recall(key, Customer) or Customer(event.customer_id)
    if kind is ErasureRequested:
        before = before._replace(lost_at=_FOREVER)
    facts.remember(key, _after(facts, before, said, heard, lost))


def _after(facts: Facts, customer: Customer, said: bool, heard: bool, lost: bool) -> Customer:
    at = facts.at
    said_at, heard_at = customer.said_at, customer.heard_at
    owed = customer.owed + facts.outstanding
    owed_since = customer.owed_since if owed > 0 else None
    if facts.outstanding > 0:
        owed_since = min(owed_since or facts.outstanding_since, facts.outstanding_since)
    lost_at = _lost_at(customer, at, said or heard, lost)
    gone, lost = lost_at is not None, lost and lost_at is not None
    news = said and (said_at is None or at >= said_at)
    if news:
        said_at = at
    silent: _Tail = (customer.silent_from, customer.silent_by, customer.silent_recorded_at)
    if owed <= 0 or lost:
        silent = _cut(facts, customer, _SILENT, silent)
    elif not gone and (news or silent[0] is None):
        since = max(said_at or at, (owed_since if news else None) or facts.outstanding_since)
        _cut(facts, customer, _SILENT, silent)
        silent = (facts.by("silent_after_hours", since), facts.leaf_index, facts.happened.recorded_at)
    neglected: _Tail = (customer.neglected_from, customer.neglected_by, customer.neglected_recorded_at)
    if lost:
        neglected = _cut(facts, customer, _NEGLECTED, neglected)
    elif (said or heard) and (heard_at is None or at >= heard_at):
        heard_at = at
        neglected = _cut(facts, customer, _NEGLECTED, neglected)
        if not gone:
            neglected = (facts.by("neglected_after_hours", at), facts.leaf_index, facts.happened.recorded_at)
    return Customer(customer.customer_id, owed, owed_since, lost_at, said_at, heard_at, *silent, *neglected)


def _lost_at(customer: Customer, at: datetime, word: bool, lost: bool) -> datetime | None:
    """Who speaks with us after we lost them is not lost, whichever was recorded first; erased is for good."""
    if lost and customer.lost_at != _FOREVER:
        spoke_since = customer.heard_at is not None and customer.heard_at > at
        return customer.lost_at if spoke_since else at
    returned = word and customer.lost_at is not None and at >= customer.lost_at
    return None if returned else customer.lost_at


def _cut(facts: Facts, customer: Customer, what: tuple[str, int], tail: _Tail) -> _Tail:
    """No tail any more. Had it opened by the clock of what happened, or could it be seen open, a row stays of it."""
    recorded_at = facts.happened.recorded_at
    at = recorded_at if customer.lost_at == _FOREVER else facts.at  # an erasure counts once it is written down
    finding = _finding(customer, what, tail)
    if finding is not None and (at > finding.opened_at or recorded_at > finding.opened_at):
        finding.closed_at, finding.closed_by, finding.closed_recorded_at = at, facts.leaf_index, recorded_at
        facts.over(finding)
    return _NO_TAIL


def tails(customer: Customer) -> Iterator[Finding]:
    """What opens next for the customer, unless somebody speaks before."""
    silent: _Tail = (customer.silent_from, customer.silent_by, customer.silent_recorded_at)
    neglected: _Tail = (customer.neglected_from, customer.neglected_by, customer.neglected_recorded_at)
    for what, tail in ((_SILENT, silent), (_NEGLECTED, neglected)):
        if (finding := _finding(customer, what, tail)) is not None:
            yield finding


def _finding(customer: Customer, what: tuple[str, int], tail: _Tail) -> Finding | None:
    """The finding that `tail` stands for."""
    (code, number), (opened_at, opened_by, recorded_at) = what, tail
    if opened_at is None:
        return None
    assert opened_by is not None
    assert recorded_at is not None
    customer_id = customer.customer_id
    return Finding(opened_by, number, code, f"customer:{customer_id}", customer_id, None, opened_at, recorded_at, {})
