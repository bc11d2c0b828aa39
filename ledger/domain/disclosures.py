"""Disclosures: what we told a customer, the reason given, and what it rests on.

Telling is an act that happened, so a disclosure is never refused for being untrue. Falsified or corrected, it stays on
record; whatever rests on it is found by following `based_on`, which a projection does, not a rule.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from ledger.domain.concerns import Concern
from ledger.domain.errors import ABOUT_ONE_THING, NOT_ALLOWED, Refused
from ledger.domain.lookups import (
    existing,
    refuse_future,
    refuse_past_review,
    refuse_same_person,
    refuse_taken,
    refuse_unknown_basis,
)
from ledger.domain.model import (
    Channel,
    Command,
    Control,
    Event,
    Happened,
    Id,
    Ids,
    Moment,
    Part,
    PersonalText,
    ReasonClass,
    State,
    States,
)
from ledger.domain.problems import Problem, disclosed, withheld
from ledger.domain.promise_messages import PromiseMade, PromiseTerms
from ledger.domain.promise_state import Promise
from ledger.domain.promises import promise_made

Basis = Literal["known", "assumed", "unknown"]

PERSONAL_REASON: Final = "personal-reason"
SOLUTION_OR_NEXT_STEP: Final = "solution-or-next-step"
ID_TOO_LONG: Final = "id-too-long"
RULES: Mapping[str, str] = {
    PERSONAL_REASON: "`personal` is no reason to give to a customer.",
    SOLUTION_OR_NEXT_STEP: "A disclosure names a solution or a next step, not both: it is either solved or it goes on.",
    ID_TOO_LONG: "The id of the promise to bring the next update, `<disclosure_id>:next-update`, is an id as well.",
}
NEXT_UPDATE_TEXT: Final = "We will tell you how things stand."


class About(Part):
    """What a disclosure is about: exactly one."""

    problem_id: Id | None = None
    promise_id: Id | None = None
    concern_id: Id | None = None

    def streams(self) -> tuple[str, ...]:
        """The stream of what it is about."""
        return tuple(f"{name.removesuffix('_id')}:{each}" for name, each in self if each is not None)


class Telling(Part):
    """What is told: the members that `disclosure.make` and `disclosure.correct` share."""

    disclosure_id: Id
    customer_id: Id
    text: PersonalText
    owner: Id
    apology: bool
    channel: Channel
    basis: Basis
    reason_class: ReasonClass | None = None
    control: Control | None = None
    solution_ref: Id | None = None
    next_step: PersonalText | None = None
    next_update_at: Moment | None = None
    based_on: Ids = ()
    outage_id: Id | None = None

    def telling_streams(self) -> tuple[str, ...]:
        """The streams that telling this reads, beside its own: what it rests on, and the next update it promises."""
        update = () if self.next_update_at is None else (f"promise:{self.disclosure_id}:next-update",)
        return (*(f"disclosure:{each}" for each in self.based_on), *update)


class MakeDisclosure(Command, Telling):
    TYPE = "disclosure.make"
    about: About

    def streams(self) -> tuple[str, ...]:
        return (f"disclosure:{self.disclosure_id}", *self.about.streams(), *self.telling_streams())


class CheckDisclosure(MakeDisclosure):
    """Asks which findings making it would raise. It is no order: it is answered, and never recorded."""

    TYPE = "disclosure.check"

    @classmethod
    def of(cls, disclosure: MakeDisclosure) -> "CheckDisclosure":
        """The question about `disclosure`."""
        return cls.model_validate(disclosure.model_dump(exclude_unset=True))


class CorrectDisclosure(Command, Telling):
    """What is so instead of what `corrects` said, told to the same customer; it is about the same thing."""

    TYPE = "disclosure.correct"
    corrects: Id

    def streams(self) -> tuple[str, ...]:
        return (f"disclosure:{self.disclosure_id}", f"disclosure:{self.corrects}", *self.telling_streams())


class WithholdDisclosure(Command):
    """What the customer has a right to know of the problem is not told yet: why, who approved, and until when.

    `disclosure_id` names the withholding; the disclosure that is made in the end may bear the same id.
    """

    TYPE = "disclosure.withhold"
    disclosure_id: Id
    problem_id: Id
    customer_id: Id
    why: PersonalText
    approver: Id
    review_at: Moment

    def streams(self) -> tuple[str, ...]:
        return (f"withholding:{self.disclosure_id}", f"problem:{self.problem_id}")


class FalsifyDisclosure(Command):
    """What it said is now known to be untrue, since `known_since`."""

    TYPE = "disclosure.falsify"
    disclosure_id: Id
    known_since: Moment
    why: PersonalText

    def streams(self) -> tuple[str, ...]:
        return (f"disclosure:{self.disclosure_id}",)


class AcknowledgeDisclosure(Command):
    """The customer has taken note."""

    TYPE = "disclosure.acknowledge"
    disclosure_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"disclosure:{self.disclosure_id}",)


class DisclosureEvent(Event):
    """Something that happened to one disclosure."""

    disclosure_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"disclosure:{self.disclosure_id}"


class DisclosureMade(DisclosureEvent):
    TOPIC = "disclosure.made"
    about_problem_id: Id | None = None
    about_promise_id: Id | None = None
    about_concern_id: Id | None = None
    text: PersonalText | None = None
    reason_class: ReasonClass | None = None
    control: Control | None = None
    owner: Id
    apology: bool
    solution_ref: Id | None = None
    next_step: PersonalText | None = None
    next_update_at: Moment | None = None
    channel: Channel
    basis: Basis
    based_on: Ids = ()
    outage_id: Id | None = None


class CorrectionDelivered(DisclosureMade):
    """A disclosure like any other, and the truth about `corrects`, which stays on record."""

    TOPIC = "disclosure.correction_delivered"
    corrects: Id


class DisclosureCorrected(DisclosureEvent):
    """The other end of the link: the disclosure `corrected_by` told the same customer what is so."""

    TOPIC = "disclosure.corrected"
    corrected_by: Id


class DisclosureFalsified(DisclosureEvent):
    """`assumption_refuted`: it came to light because the assumption that it rested on was refuted."""

    TOPIC = "disclosure.falsified"
    STANDS_WITHOUT_WORDS = True
    known_since: Moment
    why: PersonalText | None = None
    assumption_refuted: bool = False


class DisclosureAcknowledged(DisclosureEvent):
    TOPIC = "disclosure.acknowledged"


class DisclosureWithheld(Event):
    """Nothing was told, so this is no disclosure: it has a stream of its own, and nothing can rest on it."""

    TOPIC = "disclosure.withheld"
    disclosure_id: Id
    customer_id: Id
    problem_id: Id
    why: PersonalText | None = None
    approver: Id
    review_at: Moment

    @property
    def stream(self) -> str:
        return f"withholding:{self.disclosure_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (
    MakeDisclosure,
    CorrectDisclosure,
    WithholdDisclosure,
    FalsifyDisclosure,
    AcknowledgeDisclosure,
)
EVENTS: Final[tuple[type[Event], ...]] = (
    DisclosureMade,
    CorrectionDelivered,
    DisclosureCorrected,
    DisclosureFalsified,
    DisclosureAcknowledged,
    DisclosureWithheld,
)


class Disclosure(NamedTuple):
    """One disclosure. Falsified or corrected, it stays what was said."""

    disclosure_id: str
    customer_id: str
    version: int
    owner: str
    basis: Basis
    based_on: tuple[str, ...]
    made_at: datetime
    about_problem_id: str | None
    about_promise_id: str | None
    about_concern_id: str | None
    corrects: str | None = None
    acknowledged_at: datetime | None = None
    falsified_at: datetime | None = None
    known_false_since: datetime | None = None
    corrected_by: tuple[str, ...] = ()


class Withholding(NamedTuple):
    """One withholding: a single fact, recorded once. Whether it still holds is asked of its review."""

    disclosure_id: str
    customer_id: str
    version: int
    problem_id: str
    review_at: datetime


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes; a next update announced is a promise too."""
    match command:
        case MakeDisclosure():
            return _make(command, states)
        case CorrectDisclosure():
            return _correct(command, states)
        case WithholdDisclosure():
            return _withhold(command, states)
        case FalsifyDisclosure(disclosure_id=disclosure_id, known_since=known_since, why=why):
            disclosure = existing(states, Disclosure, f"disclosure:{disclosure_id}")
            refuse_future("known_since", known_since, command.occurred_at)
            if disclosure.falsified_at is not None:
                raise Refused(NOT_ALLOWED, f"Disclosure {disclosure_id} was falsified at {disclosure.falsified_at}.")
            falsified = DisclosureFalsified(
                disclosure_id=disclosure_id, customer_id=disclosure.customer_id, known_since=known_since, why=why
            )
            return (falsified,)
        case AcknowledgeDisclosure(disclosure_id=disclosure_id):
            disclosure = existing(states, Disclosure, f"disclosure:{disclosure_id}")
            if disclosure.acknowledged_at is not None:
                raise Refused(
                    NOT_ALLOWED,
                    f"Disclosure {disclosure_id} was acknowledged at {disclosure.acknowledged_at} already.",
                )
            return (DisclosureAcknowledged(disclosure_id=disclosure_id, customer_id=disclosure.customer_id),)
    raise AssertionError(command.TYPE)


def _make(command: MakeDisclosure, states: States) -> tuple[Event, ...]:
    about = command.about
    refuse_taken(states, f"disclosure:{command.disclosure_id}")
    refuse_unknown_about(states, about.streams(), command.customer_id)
    _refuse_telling(command, states)
    made = DisclosureMade(
        about_problem_id=about.problem_id,
        about_promise_id=about.promise_id,
        about_concern_id=about.concern_id,
        **_told(command),
    )
    return made, *_consequences(command, made, states)


def _correct(command: CorrectDisclosure, states: States) -> tuple[Event, ...]:
    """The correction, and the link back from what it corrects, whether that was falsified on record or not."""
    corrected = existing(states, Disclosure, f"disclosure:{command.corrects}", command.customer_id)
    refuse_taken(states, f"disclosure:{command.disclosure_id}")
    _refuse_telling(command, states)
    delivered = CorrectionDelivered(
        corrects=command.corrects,
        about_problem_id=corrected.about_problem_id,
        about_promise_id=corrected.about_promise_id,
        about_concern_id=corrected.about_concern_id,
        **_told(command),
    )
    link = DisclosureCorrected(
        disclosure_id=command.corrects, customer_id=command.customer_id, corrected_by=command.disclosure_id
    )
    return delivered, link, *_consequences(command, delivered, states)


def _withhold(command: WithholdDisclosure, states: States) -> tuple[Event, ...]:
    refuse_taken(states, f"withholding:{command.disclosure_id}")
    refuse_same_person(command.approver, command.actor)
    refuse_past_review(command.review_at, command.occurred_at)
    known_to_problem = withheld(
        states, command.problem_id, command.customer_id, command.disclosure_id, command.review_at
    )
    kept_back = DisclosureWithheld(
        disclosure_id=command.disclosure_id,
        customer_id=command.customer_id,
        problem_id=command.problem_id,
        why=command.why,
        approver=command.approver,
        review_at=command.review_at,
    )
    return kept_back, known_to_problem


def _refuse_telling(telling: Telling, states: States) -> None:
    refuse_unknown_basis(states, telling.based_on)
    if telling.reason_class is not None and telling.reason_class.casefold() == "personal":
        raise Refused(
            PERSONAL_REASON, "The reason class personal is not for customers: name the reason or leave it out."
        )
    if telling.solution_ref is not None and telling.next_step is not None:
        raise Refused(SOLUTION_OR_NEXT_STEP, "Both solution_ref and next_step are given: leave one of them out.")


def _told(telling: Telling) -> dict[str, Any]:
    """The members of a telling, as the event has them: under the same names."""
    return {name: getattr(telling, name) for name in Telling.model_fields}


def _consequences(command: MakeDisclosure | CorrectDisclosure, made: DisclosureMade, states: States) -> Iterator[Event]:
    """What telling brings with it: the promise of a next update, and a problem that this customer now knows of."""
    if command.next_update_at is not None:
        yield _next_update(command, command.occurred_at, states)
    if made.about_problem_id is not None:
        yield from disclosed(states, made.about_problem_id, made.customer_id, made.disclosure_id)


def refuse_unknown_about(states: States, about: tuple[str, ...], customer_id: str) -> None:
    """Refused unless `about` is one stream that exists and is of that customer; a problem is nobody's alone."""
    if len(about) != 1:
        raise Refused(ABOUT_ONE_THING, f"{len(about)} things are named that this is about: name exactly one.")
    stream = about[0]
    match stream.partition(":")[0]:
        case "problem":
            existing(states, Problem, stream)
        case "promise":
            existing(states, Promise, stream, customer_id)
        case "concern":
            existing(states, Concern, stream, customer_id)
        case "disclosure":
            existing(states, Disclosure, stream, customer_id)


def _next_update(telling: Telling, told_at: datetime, states: States) -> PromiseMade:
    """The promise to be back by `next_update_at`. Coming back is all it promises, so nobody need verify it."""
    promise_id = f"{telling.disclosure_id}:next-update"
    if len(promise_id) > 128:
        raise Refused(ID_TOO_LONG, "The disclosure_id is too long for a next update: use at most 116 characters.")
    terms = PromiseTerms(
        promise_id=promise_id,
        customer_id=telling.customer_id,
        kind="update",
        text=telling.next_step or NEXT_UPDATE_TEXT,
        owner=telling.owner,
        channel=telling.channel,
        basis="known",
        due_at=telling.next_update_at,
        verification="not_required",
    )
    promise = promise_made(terms, told_at, states)
    # Only now, for `states` does not know yet the disclosure that comes before it in the same transaction.
    return promise.model_copy(update={"based_on": (telling.disclosure_id,)})


def evolve(state: State | None, event: Event, happened: Happened) -> Disclosure | Withholding:
    """The disclosure, or the withholding, after `event`."""
    if isinstance(event, DisclosureMade):
        return _new(event, happened)
    if isinstance(event, DisclosureWithheld):
        return Withholding(event.disclosure_id, event.customer_id, 1, event.problem_id, event.review_at)
    assert isinstance(state, Disclosure)
    state = state._replace(version=state.version + 1)
    match event:
        case DisclosureFalsified(known_since=known_since):
            return state._replace(falsified_at=happened.occurred_at, known_false_since=known_since)
        case DisclosureCorrected(corrected_by=corrected_by):
            return state._replace(corrected_by=(*state.corrected_by, corrected_by))
    assert isinstance(event, DisclosureAcknowledged)
    return state._replace(acknowledged_at=happened.occurred_at)


def _new(event: DisclosureMade, happened: Happened) -> Disclosure:
    return Disclosure(
        disclosure_id=event.disclosure_id,
        customer_id=event.customer_id,
        version=1,
        owner=event.owner,
        basis=event.basis,
        based_on=event.based_on,
        made_at=happened.occurred_at,
        about_problem_id=event.about_problem_id,
        about_promise_id=event.about_promise_id,
        about_concern_id=event.about_concern_id,
        corrects=event.corrects if isinstance(event, CorrectionDelivered) else None,
    )
