"""Findings about customers as a whole: owed something and told nothing, or left alone altogether.

Both open so long after the last word, so they move with every word. The moment at which one opens next is a *tail*: a
column of the customer's row, and no row of its own. Only when somebody speaks after it had opened (by either clock) is
it a finding that was, and becomes a row.
"""

from datetime import datetime
from typing import Final, NamedTuple

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
from ledger.domain.followups import FollowUpAttempted, FollowUpCompleted
from ledger.domain.model import Event
from ledger.domain.needs import NeedDeclined
from ledger.domain.outages import NoteFollowedUp, NoteTaken
from ledger.domain.problems import ResolutionFailed, ResolutionVerified
from ledger.domain.promises import (
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


class _Tail(NamedTuple):
    """Where a tail stands in the row, and the number of the rows that it leaves: never one that a rule counts."""

    code: str
    name: str
    number: int


_SILENT: Final = _Tail("silent-customer", "silent", -1)
_NEGLECTED: Final = _Tail("neglected-customer", "neglected", -2)


def touch(facts: Facts, event: Event) -> None:
    """What any event means for its customer as a whole."""
    kind = type(event)
    reached = isinstance(event, FollowUpAttempted) and event.reached
    said, heard = kind in SAID or reached, kind in HEARD
    if not (said or heard or facts.outstanding or kind is CustomerLost):
        return
    assert event.customer_id is not None
    key = f"customer:{event.customer_id}"
    before = facts.recall(key, Customer) or Customer(event.customer_id)
    facts.remember(key, _after(facts, before, kind, said, heard))


def _after(facts: Facts, customer: Customer, kind: type[Event], said: bool, heard: bool) -> Customer:
    at = facts.at
    customer = customer._replace(owed=customer.owed + facts.outstanding)
    if kind is CustomerLost:
        customer = _stop(facts, _stop(facts, customer, _SILENT), _NEGLECTED)
        return customer._replace(lost=True)
    if said or heard:  # who speaks with us is not lost
        customer = customer._replace(lost=False)
    later = customer.said_at is None or at >= customer.said_at
    if said and later:
        customer = customer._replace(said_at=at)
    if customer.owed <= 0:
        customer = _stop(facts, customer, _SILENT)
    elif not customer.lost and ((said and later) or customer.silent_from is None):
        since = at if customer.said_at is None else max(customer.said_at, at)
        customer = _start(facts, customer, _SILENT, since + facts.limit("silent_after_hours", since))
    if (said or heard) and (customer.heard_at is None or at >= customer.heard_at):
        customer = customer._replace(heard_at=at)
        customer = _start(facts, customer, _NEGLECTED, at + facts.limit("neglected_after_hours", at))
    return customer


def _start(facts: Facts, customer: Customer, tail: _Tail, opens_at: datetime) -> Customer:
    customer = _stop(facts, customer, tail)
    return _set(customer, tail, opens_at, facts.leaf_index, facts.happened.recorded_at)


def _stop(facts: Facts, customer: Customer, tail: _Tail) -> Customer:
    """The tail is cut. Had it opened by the clock of what happened, or could it be seen open, a row stays of it."""
    opened_at, opened_by, recorded_at = _get(customer, tail)
    if opened_at is None:
        return customer
    assert opened_by is not None
    assert recorded_at is not None
    if max(facts.at, facts.happened.recorded_at) > opened_at:
        key = f"customer:{customer.customer_id}"
        facts.over(
            Finding(
                opened_by,
                tail.number,
                tail.code,
                key,
                customer.customer_id,
                None,
                opened_at,
                recorded_at,
                {},
                facts.at,
                facts.leaf_index,
                facts.happened.recorded_at,
            )
        )
    return _set(customer, tail, None, None, None)


def _get(customer: Customer, tail: _Tail) -> tuple[datetime | None, int | None, datetime | None]:
    if tail is _SILENT:
        return customer.silent_from, customer.silent_by, customer.silent_recorded_at
    return customer.neglected_from, customer.neglected_by, customer.neglected_recorded_at


def _set(
    customer: Customer, tail: _Tail, opens_at: datetime | None, by: int | None, recorded_at: datetime | None
) -> Customer:
    if tail is _SILENT:
        return customer._replace(silent_from=opens_at, silent_by=by, silent_recorded_at=recorded_at)
    return customer._replace(neglected_from=opens_at, neglected_by=by, neglected_recorded_at=recorded_at)
