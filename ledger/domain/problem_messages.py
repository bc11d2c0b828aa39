"""What is said of problems: the commands that senders send, and the events that they become."""

from typing import Annotated, Final, Literal

from pydantic import Field

from ledger.domain.model import Command, Control, Event, Evidence, Id, Ids, Moment, PersonalText, ReasonClass, Severity
from ledger.domain.promise_messages import PromiseTerms

DetectedBy = Literal["us", "customer", "third_party"]
CauseBasis = Literal["assumed", "verified"]
OwnerKind = Literal["person", "role", "customer", "vendor"]
Customers = Annotated[tuple[Id, ...], Field(min_length=1, max_length=256)]
Steps = Annotated[tuple[PromiseTerms, ...], Field(min_length=1, max_length=64)]
Addresses = Annotated[tuple[Id, ...], Field(min_length=1, max_length=256)]
ROOT_CAUSE: Final = "root_cause"


class ProblemCommand(Command):
    """A command to one problem."""

    problem_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"problem:{self.problem_id}",)


class DetectProblem(ProblemCommand):
    TYPE = "problem.detect"
    known_since: Moment
    detected_by: DetectedBy
    summary: PersonalText
    severity: Severity
    affected: Customers
    promises: Ids = ()
    owner: Id

    def streams(self) -> tuple[str, ...]:
        return (f"problem:{self.problem_id}", *(f"promise:{each}" for each in self.promises))


class AffectCustomers(ProblemCommand):
    TYPE = "problem.affect"
    affected: Ids
    promises: Ids = ()

    def streams(self) -> tuple[str, ...]:
        return (f"problem:{self.problem_id}", *(f"promise:{each}" for each in self.promises))


class RecordCause(ProblemCommand):
    """A later cause is a new event; the first one stays visible."""

    TYPE = "problem.record_cause"
    cause_class: ReasonClass
    cause: PersonalText | None = None
    control: Control
    evidence: Evidence | None = None
    basis: CauseBasis


class PlanAction(ProblemCommand):
    """`addresses`: ids of concerns, or `root_cause`. Every step is a promise."""

    TYPE = "problem.plan"
    steps: Steps
    addresses: Addresses

    def streams(self) -> tuple[str, ...]:
        return (f"problem:{self.problem_id}", *(stream for step in self.steps for stream in step.terms_streams()))


class TakeOwnership(ProblemCommand):
    """`owner_kind` says what the owner is, for an id does not tell."""

    TYPE = "problem.take_ownership"
    owner: Id
    owner_kind: OwnerKind = "person"


class ResolveProblem(ProblemCommand):
    TYPE = "problem.resolve"
    root_cause_addressed: bool
    text: PersonalText | None = None


class VerifyResolution(ProblemCommand):
    """What that customer says: it works, or it does not."""

    TYPE = "problem.verify"
    customer_id: Id
    works: bool


class ReportProblem(Command):
    TYPE = "problem.reported"
    customer_id: Id
    text: PersonalText
    problem_id: Id | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"customer:{self.customer_id}", *(() if self.problem_id is None else (f"problem:{self.problem_id}",)))


class ProblemEvent(Event):
    """Something that happened to one problem."""

    problem_id: Id

    @property
    def stream(self) -> str:
        return f"problem:{self.problem_id}"


class ProblemDetected(ProblemEvent):
    """`customer_id` is the first of `affected`: the words are sealed under that customer's key."""

    TOPIC = "problem.detected"
    known_since: Moment
    detected_by: DetectedBy
    summary: PersonalText | None = None
    severity: Severity
    affected: Ids
    promises: Ids = ()
    owner: Id


class CustomersAffected(ProblemEvent):
    """Those whom the problem was not known to affect before."""

    TOPIC = "problem.customers_affected"
    affected: Ids
    promises: Ids = ()


class CauseRecorded(ProblemEvent):
    TOPIC = "problem.cause_recorded"
    STANDS_WITHOUT_WORDS = True
    cause_class: ReasonClass
    cause: PersonalText | None = None
    control: Control
    evidence: Evidence | None = None
    basis: CauseBasis


class ActionPlanned(ProblemEvent):
    """`steps` are the ids of the promises made with it."""

    TOPIC = "problem.action_planned"
    steps: Ids
    addresses: Ids


class OwnershipTaken(ProblemEvent):
    TOPIC = "problem.ownership_taken"
    owner: Id
    owner_kind: OwnerKind = "person"


class ResolutionClaimed(ProblemEvent):
    TOPIC = "problem.resolution_claimed"
    STANDS_WITHOUT_WORDS = True
    root_cause_addressed: bool
    text: PersonalText | None = None


class ResolutionVerified(ProblemEvent):
    TOPIC = "problem.resolution_verified"
    customer_id: Id


class ResolutionFailed(ProblemEvent):
    """It does not work for that customer: the problem is open again, in the next cycle.

    `followup_id` where a follow-up found it out.
    """

    TOPIC = "problem.resolution_failed"
    customer_id: Id
    followup_id: Id | None = None


class ProblemCustomerTold(ProblemEvent):
    """The first disclosure about the problem to that customer."""

    TOPIC = "problem.customer_told"
    customer_id: Id
    disclosure_id: Id


class ProblemCustomerWithheld(ProblemEvent):
    """The problem is withheld from that customer until `review_at`."""

    TOPIC = "problem.customer_withheld"
    customer_id: Id
    disclosure_id: Id
    review_at: Moment


class ProblemConcernOpened(ProblemEvent):
    """A concern about the problem was raised, or reopened."""

    TOPIC = "problem.concern_opened"
    customer_id: Id
    concern_id: Id


class ProblemConcernSettled(ProblemEvent):
    """A concern about the problem was addressed or withdrawn."""

    TOPIC = "problem.concern_settled"
    customer_id: Id
    concern_id: Id
