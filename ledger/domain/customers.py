"""Customers: that they reported a problem, that we lost them, that they came back.

A customer is nobody's to create: the stream `customer:<id>` begins with the first of these that happens.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.errors import NOT_ALLOWED, Refused
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, State, States

RULES: Mapping[str, str] = {}


class LoseCustomer(Command):
    """`attributed_to`: the id of a promise, a problem … of ours, or a code of the sender's own, such as `price`."""

    TYPE = "customer.lost"
    customer_id: Id
    attributed_to: Id
    text: PersonalText | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"customer:{self.customer_id}",)


class ReturnCustomer(Command):
    TYPE = "customer.returned"
    customer_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"customer:{self.customer_id}",)


class CustomerEvent(Event):
    """Something that happened to one customer."""

    customer_id: Id

    @property
    def stream(self) -> str:
        return f"customer:{self.customer_id}"


class CustomerReportedProblem(CustomerEvent):
    """The customer found it; `problem_id` where we know which problem that is."""

    TOPIC = "problem.reported"
    problem_id: Id | None = None
    text: PersonalText | None = None


class CustomerLost(CustomerEvent):
    TOPIC = "customer.lost"
    attributed_to: Id
    text: PersonalText | None = None


class CustomerReturned(CustomerEvent):
    TOPIC = "customer.returned"


COMMANDS: Final[tuple[type[Command], ...]] = (LoseCustomer, ReturnCustomer)
EVENTS: Final[tuple[type[Event], ...]] = (CustomerReportedProblem, CustomerLost, CustomerReturned)


class Customer(NamedTuple):
    """One customer, as far as their own stream tells."""

    customer_id: str
    version: int
    reports: int = 0
    lost_at: datetime | None = None  # None again once they returned


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes; refused where a customer is lost twice, or returns without having left."""
    assert isinstance(command, LoseCustomer | ReturnCustomer)
    state = states(f"customer:{command.customer_id}")
    assert state is None or isinstance(state, Customer)
    lost_at = None if state is None else state.lost_at
    match command:
        case LoseCustomer(customer_id=customer_id, attributed_to=attributed_to, text=text):
            if lost_at is not None:
                raise Refused(NOT_ALLOWED, f"Customer {customer_id} was lost at {lost_at} and has not returned since.")
            return (CustomerLost(customer_id=customer_id, attributed_to=attributed_to, text=text),)
        case ReturnCustomer(customer_id=customer_id):
            if lost_at is None:
                raise Refused(NOT_ALLOWED, f"Customer {customer_id} was not lost: send customer.lost first.")
            return (CustomerReturned(customer_id=customer_id),)


def evolve(state: State | None, event: Event, happened: Happened) -> Customer:
    """The customer after `event`."""
    assert isinstance(event, CustomerEvent)
    customer = Customer(event.customer_id, 0) if state is None else state
    assert isinstance(customer, Customer)
    customer = customer._replace(version=customer.version + 1)
    match event:
        case CustomerReportedProblem():
            return customer._replace(reports=customer.reports + 1)
        case CustomerLost():
            return customer._replace(lost_at=happened.occurred_at)
        case CustomerReturned():
            return customer._replace(lost_at=None)
    raise AssertionError(event.TOPIC)
