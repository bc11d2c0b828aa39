"""hold.place and hold.lift."""

from typing import Any

import pytest

from ledger.domain.holds import HoldLifted, HoldPlaced, LiftHold, PlaceHold
from tests.domain.story import given, on, order

H1: dict[str, Any] = {"hold_id": "H-1", "customer_id": "C-1", "grounds": "case 4 C 12/26", "approver": "u-9"}
PLACE, LIFT = order(PlaceHold, **H1), order(LiftHold, **H1)
PLACED, LIFTED = HoldPlaced(**H1), HoldLifted(**H1)


def test_a_hold_stands_until_it_is_lifted() -> None:
    given().when(PLACE).then(PLACED).so("hold:C-1", standing={"H-1"}, lifted=set(), version=1)
    given(on(2, PLACED)).when(LIFT).then(LIFTED).so("hold:C-1", standing=set(), lifted={"H-1"}, version=2)
    second = HoldPlaced(**H1 | {"hold_id": "H-2"})
    given(on(2, PLACED), on(3, second)).when(LIFT).then(LIFTED).so("hold:C-1", standing={"H-2"})
    assert PLACE.streams() == LIFT.streams() == ("hold:C-1", "erasure:C-1")


def test_a_hold_is_placed_once_and_lifted_once() -> None:
    given(on(2, PLACED)).when(PLACE).refused("id-taken", "H-1")
    given(on(2, PLACED), on(3, LIFTED)).when(PLACE).refused("id-taken", "H-1")
    given(on(2, PLACED), on(3, LIFTED)).when(LIFT).refused("not-allowed", "H-1")
    given().when(LIFT).refused("unknown-hold", "H-1", "C-1")


@pytest.mark.parametrize("command", [PLACE, LIFT])
def test_somebody_else_approves(command: Any) -> None:
    given(on(2, PLACED)).when(command.model_copy(update={"approver": "u-2"})).refused("same-person", "u-2")
