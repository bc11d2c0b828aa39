"""What is said of promises: the commands that senders send, and the events that they become."""

from typing import Literal

from ledger.domain.lifecycle import Verification
from ledger.domain.model import Channel, Command, Duration, Event, Evidence, Id, Ids, Moment, Part, PersonalText

Kind = Literal["deliver", "answer", "callback", "fix", "refund", "update", "other"]
Basis = Literal["known", "assumed"]
CustomerKind = Literal["external", "internal"]


class Condition(Part):
    """What must happen first, and by when."""

    text: PersonalText
    by: Moment


class PromiseTerms(Part):
    """What is promised: the members that `promise.make` and every promise inside another command share."""

    promise_id: Id
    customer_id: Id
    kind: Kind
    text: PersonalText
    owner: Id
    channel: Channel
    basis: Basis
    due_at: Moment | None = None
    due_in: Duration | None = None
    calendar_id: Id | None = None
    condition: Condition | None = None
    verification: Verification = "required"
    based_on: Ids = ()
    offering_id: Id | None = None
    for_team: Id | None = None
    customer_kind: CustomerKind = "external"

    def terms_streams(self) -> tuple[str, ...]:
        """The streams that making this promise reads: its own, what it rests on, and its calendar."""
        calendar = () if self.calendar_id is None else (f"calendar:{self.calendar_id}",)
        return (f"promise:{self.promise_id}", *(f"disclosure:{each}" for each in self.based_on), *calendar)


class MakePromise(Command, PromiseTerms):
    TYPE = "promise.make"

    def streams(self) -> tuple[str, ...]:
        return self.terms_streams()


class PromiseCommand(Command):
    """A command to one promise that exists."""

    promise_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}",)


class ReadBackPromise(PromiseCommand):
    TYPE = "promise.read_back"
    confirmed: bool
    correction: PersonalText | None = None


class AcceptPromise(PromiseCommand):
    TYPE = "promise.accept"
    owner: Id


class ReassignPromise(PromiseCommand):
    TYPE = "promise.reassign"
    owner: Id


class MeetCondition(PromiseCommand):
    TYPE = "promise.meet_condition"


class WarnOfPromise(PromiseCommand):
    TYPE = "promise.warn"
    reason: PersonalText
    expected_at: Moment | None = None


class ReschedulePromise(PromiseCommand):
    TYPE = "promise.reschedule"
    new_due_at: Moment
    disclosure_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}", f"disclosure:{self.disclosure_id}")


class SuspendPromise(PromiseCommand):
    TYPE = "promise.suspend"
    reason: PersonalText
    review_at: Moment


class ResumePromise(PromiseCommand):
    TYPE = "promise.resume"


class ClaimPromiseKept(PromiseCommand):
    TYPE = "promise.claim_kept"
    evidence: Evidence | None = None
    text: PersonalText | None = None


class VerifyPromise(PromiseCommand):
    TYPE = "promise.verify"
    verified_by: Id


class DisputePromise(PromiseCommand):
    TYPE = "promise.dispute"
    text: PersonalText


class BreakPromise(PromiseCommand):
    TYPE = "promise.break"
    reason_code: Id
    text: PersonalText
    problem_id: Id | None = None


class ReleasePromise(PromiseCommand):
    TYPE = "promise.release"
    evidence: Evidence


class SupersedePromise(PromiseCommand):
    TYPE = "promise.supersede"
    disclosure_id: Id
    promise: PromiseTerms

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}", f"disclosure:{self.disclosure_id}", *self.promise.terms_streams())


class PromiseEvent(Event):
    """Something that happened to one promise."""

    promise_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"promise:{self.promise_id}"


class PromiseMade(PromiseEvent):
    """`due_at` was resolved once. Where business time was promised, the four last members say how."""

    TOPIC = "promise.made"
    kind: Kind
    text: PersonalText | None = None
    owner: Id
    channel: Channel
    basis: Basis
    due_at: Moment
    condition_text: PersonalText | None = None
    condition_by: Moment | None = None
    verification: Verification
    based_on: Ids = ()
    offering_id: Id | None = None
    for_team: Id | None = None
    customer_kind: CustomerKind = "external"
    due_in: Duration | None = None
    calendar_id: Id | None = None
    calendar_version: int | None = None
    tzdata_version: str | None = None


class PromiseReadBack(PromiseEvent):
    TOPIC = "promise.read_back"
    confirmed: bool
    correction: PersonalText | None = None


class PromiseAccepted(PromiseEvent):
    TOPIC = "promise.accepted"
    owner: Id


class PromiseReassigned(PromiseEvent):
    """Handed over to `owner`, who answers for it from the acceptance on; until then the old owner does."""

    TOPIC = "promise.reassigned"
    owner: Id


class PromiseActivated(PromiseEvent):
    TOPIC = "promise.activated"


class PromiseAtRisk(PromiseEvent):
    TOPIC = "promise.at_risk"
    reason: PersonalText | None = None
    expected_at: Moment | None = None


class PromiseRescheduled(PromiseEvent):
    TOPIC = "promise.rescheduled"
    old_due_at: Moment
    new_due_at: Moment
    disclosure_id: Id


class PromiseSuspended(PromiseEvent):
    TOPIC = "promise.suspended"
    STANDS_WITHOUT_WORDS = True
    reason: PersonalText | None = None
    review_at: Moment


class PromiseResumed(PromiseEvent):
    """`new_due_at` where the pause moved the due time: it was promised in business time, which stood still."""

    TOPIC = "promise.resumed"
    old_due_at: Moment | None = None
    new_due_at: Moment | None = None


class PromiseClaimedKept(PromiseEvent):
    TOPIC = "promise.claimed_kept"
    STANDS_WITHOUT_WORDS = True
    evidence: Evidence | None = None
    text: PersonalText | None = None


class PromiseKept(PromiseEvent):
    TOPIC = "promise.kept"
    verified_by: Id


class PromiseDisputed(PromiseEvent):
    TOPIC = "promise.disputed"
    STANDS_WITHOUT_WORDS = True
    text: PersonalText | None = None


class PromiseBroken(PromiseEvent):
    TOPIC = "promise.broken"
    STANDS_WITHOUT_WORDS = True
    reason_code: Id
    text: PersonalText | None = None
    problem_id: Id | None = None


class PromiseReleased(PromiseEvent):
    TOPIC = "promise.released"
    evidence: Evidence


class PromiseSuperseded(PromiseEvent):
    TOPIC = "promise.superseded"
    superseded_by: Id
    disclosure_id: Id
