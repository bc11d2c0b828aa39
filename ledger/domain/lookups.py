"""What most rules ask first: does it exist, is it that customer's, is the id still free."""

from typing import TypeVar

from ledger.domain.errors import ID_TAKEN, UNKNOWN_DISCLOSURE, WRONG_CUSTOMER, Refused
from ledger.domain.model import State, States

S = TypeVar("S", bound=State)


def existing(states: States, kind: type[S], stream: str, customer_id: str | None = None) -> S:
    """The state of `stream`, such as `promise:P-1`.

    Refused `unknown-promise` (or `unknown-` and whatever the stream is of) where it has no events, and
    `wrong-customer` where it is not of `customer_id`.
    """
    noun, _, name = stream.partition(":")
    state = states(stream)
    if state is None:
        raise Refused(f"unknown-{noun}", f"There is no {noun} {name}: send that one first, or correct the id.")
    assert isinstance(state, kind)
    if customer_id is not None and state.customer_id != customer_id:
        raise Refused(WRONG_CUSTOMER, f"The {noun} {name} is not one of customer {customer_id}: correct either id.")
    return state


def refuse_taken(states: States, stream: str) -> None:
    """Refused `id-taken` where `stream` has events already."""
    noun, _, name = stream.partition(":")
    if states(stream) is not None:
        raise Refused(ID_TAKEN, f"There is a {noun} {name} already: a new one needs an id of its own.")


def refuse_unknown_basis(states: States, based_on: tuple[str, ...]) -> None:
    """Refused `unknown-disclosure` where something rests on a disclosure that was never made."""
    for disclosure_id in based_on:
        if states(f"disclosure:{disclosure_id}") is None:
            raise Refused(UNKNOWN_DISCLOSURE, f"There is no disclosure {disclosure_id} to rest on: send it first.")
