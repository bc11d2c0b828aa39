"""customer.lost and customer.returned."""

from ledger.domain.customers import (
    CustomerLost,
    CustomerReportedProblem,
    CustomerReturned,
    LoseCustomer,
    ReturnCustomer,
)
from tests.domain.story import day, given, on, order

LOSE = order(LoseCustomer, customer_id="C-1", attributed_to="P-1", text="They had enough.")
RETURN = order(ReturnCustomer, customer_id="C-1")
LOST = CustomerLost(customer_id="C-1", attributed_to="P-1", text="They had enough.")
RETURNED = CustomerReturned(customer_id="C-1")
REPORTED = on(1, CustomerReportedProblem(customer_id="C-1", text="It is dark."))


def test_a_customer_is_lost_and_returns_and_may_be_lost_again() -> None:
    given().when(LOSE).then(LOST).so("customer:C-1", lost_at=day(5), reports=0, version=1)
    given(on(3, LOST)).when(RETURN).then(RETURNED).so("customer:C-1", lost_at=None, version=2)
    given(on(3, LOST), on(4, RETURNED)).when(LOSE).then(LOST).so("customer:C-1", lost_at=day(5))


def test_nobody_is_lost_twice_or_returns_without_having_left() -> None:
    given(on(3, LOST)).when(LOSE).refused("not-allowed", "C-1", "2026-03-03")
    given().when(RETURN).refused("not-allowed", "customer.lost")
    given(REPORTED).when(RETURN).refused("not-allowed", "customer.lost")
    assert LOSE.streams() == RETURN.streams() == ("customer:C-1",)
