"""concern.raise, concern.acknowledge and concern.address."""

from typing import Any

import pytest

from ledger.domain.concerns import (
    AcknowledgeConcern,
    AddressConcern,
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernRaised,
    ConcernReopened,
    RaiseConcern,
)
from tests.domain.story import day, given, on, order, raised

Q1 = {"concern_id": "Q-1", "customer_id": "C-1"}
RAISE = order(RaiseConcern, **Q1, text="Will it ever come?", severity=2)
ACKNOWLEDGE = order(AcknowledgeConcern, concern_id="Q-1", restated="You fear it is lost.")
ADDRESS = order(AddressConcern, concern_id="Q-1", how="We showed where it is.", by="D-1")
ACKNOWLEDGED = ConcernAcknowledged(**Q1, restated="You fear it is lost.")
ADDRESSED = ConcernAddressed(**Q1, how="We showed where it is.", by="D-1")
REOPENED = ConcernReopened(**Q1, followup_id="F-1")


def test_a_concern_is_raised_acknowledged_and_addressed() -> None:
    given().when(RAISE).then(ConcernRaised(**Q1, text="Will it ever come?", severity=2)).so(
        "concern:Q-1", raised_at=day(5), severity=2, cycle=1, acknowledged_at=None, addressed_at=None
    )
    given(raised()).when(ACKNOWLEDGE).then(ACKNOWLEDGED).so("concern:Q-1", acknowledged_at=day(5), addressed_at=None)
    given(raised(), on(3, ACKNOWLEDGED)).when(ADDRESS).then(ADDRESSED).so(
        "concern:Q-1", acknowledged_at=day(3), addressed_at=day(5), addressed_by="D-1", version=3
    )


def test_a_solution_before_listening_is_recorded_and_may_be_acknowledged_later() -> None:
    given(raised()).when(ADDRESS).then(ADDRESSED).so("concern:Q-1", acknowledged_at=None, addressed_at=day(5))
    given(raised(), on(3, ADDRESSED)).when(ACKNOWLEDGE).then(ACKNOWLEDGED)


@pytest.mark.parametrize(("command", "done"), [(ACKNOWLEDGE, ACKNOWLEDGED), (ADDRESS, ADDRESSED)])
def test_each_is_done_once_a_cycle(command: Any, done: Any) -> None:
    given(raised(), on(3, done)).when(command).refused("not-allowed", "Q-1", "2026-03-03")
    given(raised(), on(3, done), on(4, REOPENED)).when(command).then(done).so("concern:Q-1", cycle=2)


def test_an_id_names_one_concern_for_ever() -> None:
    given(raised(customer_id="C-2")).when(RAISE).refused("id-taken", "Q-1")


@pytest.mark.parametrize("command", [ACKNOWLEDGE, ADDRESS])
def test_there_must_be_a_concern(command: Any) -> None:
    given().when(command).refused("unknown-concern", "Q-1")
