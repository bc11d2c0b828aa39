"""Disclosures: what we told a customer, the reason given, and what it rests on.

Telling is an act that happened, so a disclosure is never refused for being untrue.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from ledger.domain.concerns import Concern
from ledger.domain.errors import ABOUT_ONE_THING, NOT_ALLOWED, Refused
from ledger.domain.lookups import existing, refuse_taken, refuse_unknown_basis
from ledger.domain.model import (
    Channel,
    Command,
    Event,
    Happened,
    Id,
    Ids,
    Moment,
    Part,
    PersonalText,
    State,
    States,
)
from ledger.domain.promises import Promise, PromiseMade, PromiseTerms, promise_made

Basis = Literal["known", "assumed", "unknown"]
Control = Literal["within", "beyond"]

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


class MakeDisclosure(Command):
    TYPE = "disclosure.make"
    disclosure_id: Id
    customer_id: Id
    about: About
    text: PersonalText
    owner: Id
    apology: bool
    channel: Channel
    basis: Basis
    reason_class: Id | None = None
    control: Control | None = None
    solution_ref: Id | None = None
    next_step: PersonalText | None = None
    next_update_at: Moment | None = None
    based_on: Ids = ()
    outage_id: Id | None = None

    def streams(self) -> tuple[str, ...]:
        update = () if self.next_update_at is None else (f"promise:{self.disclosure_id}:next-update",)
        bases = (f"disclosure:{each}" for each in self.based_on)
        return (f"disclosure:{self.disclosure_id}", *self.about.streams(), *bases, *update)


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
    reason_class: Id | None = None
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


class DisclosureAcknowledged(DisclosureEvent):
    TOPIC = "disclosure.acknowledged"


COMMANDS: Final[tuple[type[Command], ...]] = (MakeDisclosure, AcknowledgeDisclosure)
EVENTS: Final[tuple[type[Event], ...]] = (DisclosureMade, DisclosureAcknowledged)


class Disclosure(NamedTuple):
    """One disclosure."""

    disclosure_id: str
    customer_id: str
    version: int
    owner: str
    basis: Basis
    based_on: tuple[str, ...]
    made_at: datetime
    acknowledged_at: datetime | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes; a next update announced is a promise too."""
    match command:
        case MakeDisclosure():
            return _make(command, states)
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
    refuse_taken(states, f"disclosure:{command.disclosure_id}")
    refuse_unknown_about(states, command.about.streams(), command.customer_id)
    refuse_unknown_basis(states, command.based_on)
    if command.reason_class is not None and command.reason_class.casefold() == "personal":
        raise Refused(
            PERSONAL_REASON, "The reason class personal is not for customers: name the reason or leave it out."
        )
    if command.solution_ref is not None and command.next_step is not None:
        raise Refused(SOLUTION_OR_NEXT_STEP, "Both solution_ref and next_step are given: leave one of them out.")
    made = DisclosureMade(
        disclosure_id=command.disclosure_id,
        customer_id=command.customer_id,
        about_problem_id=command.about.problem_id,
        about_promise_id=command.about.promise_id,
        about_concern_id=command.about.concern_id,
        text=command.text,
        reason_class=command.reason_class,
        control=command.control,
        owner=command.owner,
        apology=command.apology,
        solution_ref=command.solution_ref,
        next_step=command.next_step,
        next_update_at=command.next_update_at,
        channel=command.channel,
        basis=command.basis,
        based_on=command.based_on,
        outage_id=command.outage_id,
    )
    return (made,) if command.next_update_at is None else (made, _next_update(command, states))


def refuse_unknown_about(states: States, about: tuple[str, ...], customer_id: str) -> None:
    """Refused unless `about` is one stream that exists and is of that customer (a problem is not looked up)."""
    if len(about) != 1:
        raise Refused(ABOUT_ONE_THING, f"`about` names {len(about)} things: name exactly one.")
    stream = about[0]
    match stream.partition(":")[0]:
        case "promise":
            existing(states, Promise, stream, customer_id)
        case "concern":
            existing(states, Concern, stream, customer_id)
        case "disclosure":
            existing(states, Disclosure, stream, customer_id)


def _next_update(command: MakeDisclosure, states: States) -> PromiseMade:
    """The promise to be back by `next_update_at`. Coming back is all it promises, so nobody need verify it."""
    promise_id = f"{command.disclosure_id}:next-update"
    if len(promise_id) > 128:
        raise Refused(ID_TOO_LONG, "The disclosure_id is too long for a next update: use at most 116 characters.")
    terms = PromiseTerms(
        promise_id=promise_id,
        customer_id=command.customer_id,
        kind="update",
        text=command.next_step or NEXT_UPDATE_TEXT,
        owner=command.owner,
        channel=command.channel,
        basis="known",
        due_at=command.next_update_at,
        verification="not_required",
    )
    promise = promise_made(terms, command.occurred_at, states)
    # Only now, for `states` does not know yet the disclosure that comes before it in the same transaction.
    return promise.model_copy(update={"based_on": (command.disclosure_id,)})


def evolve(state: State | None, event: Event, happened: Happened) -> Disclosure:
    """The disclosure after `event`."""
    if isinstance(event, DisclosureMade):
        return Disclosure(
            disclosure_id=event.disclosure_id,
            customer_id=event.customer_id,
            version=1,
            owner=event.owner,
            basis=event.basis,
            based_on=event.based_on,
            made_at=happened.occurred_at,
        )
    assert isinstance(state, Disclosure)
    assert isinstance(event, DisclosureAcknowledged)
    return state._replace(version=state.version + 1, acknowledged_at=happened.occurred_at)
