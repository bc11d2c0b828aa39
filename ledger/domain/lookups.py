"""What most rules ask first: does it exist, is it that customer's, is the id still free."""

from datetime import datetime
from typing import TypeVar

from ledger.domain.errors import (
    ID_TAKEN,
    IN_FUTURE,
    REVIEW_IN_PAST,
    SAME_PERSON,
    UNKNOWN_DISCLOSURE,
    WRONG_CUSTOMER,
    Refused,
)
from ledger.domain.model import State, States

S = TypeVar("S", bound=State)


def existing(states: States, kind: type[S], stream: str, customer_id: str | None = None) -> S:
    """The state of `stream`, such as `promise:P-1`.

    Refused `unknown-promise` (or `unknown-` and whatever the stream is of) where it has no events, and
    `wrong-customer` where it is not of `customer_id`.
    """
    kind_of, _, name = stream.partition(":")
    noun = _noun(kind_of)
    state = states(stream)
    if state is None:
        raise Refused(f"unknown-{kind_of}", f"There is no {noun} {name}: send that one first, or correct the id.")
    assert isinstance(state, kind)
    if customer_id is not None and state.customer_id != customer_id:
        raise Refused(WRONG_CUSTOMER, f"The {noun} {name} is not one of customer {customer_id}: correct either id.")
    return state


def refuse_taken(states: States, stream: str) -> None:
    """Refused `id-taken` where `stream` has events already."""
    kind, _, name = stream.partition(":")
    if states(stream) is not None:
        noun = _noun(kind)
        article = "an" if noun[0] in "aeiou" else "a"
        raise Refused(ID_TAKEN, f"There is {article} {noun} {name} already: a new one needs an id of its own.")


def _noun(kind: str) -> str:
    """What a sentence calls the thing whose stream is `kind:…`."""
    return {"followup": "follow-up", "goodwill": "grant of goodwill"}.get(kind, kind)


def refuse_unknown_basis(states: States, based_on: tuple[str, ...]) -> None:
    """Refused `unknown-disclosure` where something rests on a disclosure that was never made."""
    for disclosure_id in based_on:
        if states(f"disclosure:{disclosure_id}") is None:
            raise Refused(UNKNOWN_DISCLOSURE, f"There is no disclosure {disclosure_id} to rest on: send it first.")


def refuse_same_person(approver: str, actor: str) -> None:
    """Refused `same-person` where somebody approves of what they do themselves."""
    if approver == actor:
        raise Refused(SAME_PERSON, f"{actor} acts and approves: let somebody else approve.")


def refuse_future(member: str, moment: datetime, said_at: datetime) -> None:
    """Refused `in-future` where `member` names a moment after the one at which that is said."""
    if moment > said_at:
        raise Refused(IN_FUTURE, f"{member} is {moment}, which is after the command occurred ({said_at}): correct it.")


def refuse_past_review(review_at: datetime, said_at: datetime) -> None:
    """Refused `review-in-past` where the review does not lie after the moment of putting something off."""
    if review_at <= said_at:
        raise Refused(REVIEW_IN_PAST, f"The review at {review_at} does not lie after {said_at}: move it.")
