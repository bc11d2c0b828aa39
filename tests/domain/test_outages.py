"""outage.declare, outage.end, note.take, note.clear, note.followed_up: the list is done at two zeroes."""

from typing import Any

import pytest

from ledger.domain.outages import (
    ClearNote,
    DeclareOutage,
    EndOutage,
    FollowUpNote,
    NoteCleared,
    NoteFollowedUp,
    NoteTaken,
    Outage,
    OutageDeclared,
    OutageEnded,
    OutageListDone,
    TakeNote,
    customers_to_follow_up,
)
from tests.domain.story import day, given, on, order, told_states

O1 = {"outage_id": "O-1"}
NOTE: dict[str, Any] = {
    "outage_id": "O-1",
    "capture_id": "N-1",
    "captured_at": day(2),
    "customer_id": "C-1",
    "text": "Wants to be called.",
    "read_back": True,
}
DECLARED = on(1, OutageDeclared(**O1, tool="crm"))
ENDED = on(3, OutageEnded(**O1))
TAKEN = on(2, NoteTaken(**NOTE))
OTHER = on(2, NoteTaken(**NOTE | {"capture_id": "N-2"}))
TAKE = order(TakeNote, **NOTE)
CLEAR = order(ClearNote, **O1, capture_id="N-1", by=("P-1",))
CLEARED = NoteCleared(**O1, capture_id="N-1", customer_id="C-1", by=("P-1",))
FOLLOW = order(FollowUpNote, **O1, capture_id="N-1")
FOLLOWED = NoteFollowedUp(**O1, capture_id="N-1", customer_id="C-1")
DONE = OutageListDone(**O1)
END = order(EndOutage, **O1)
DECLARE = order(DeclareOutage, **O1, tool="crm")


def test_an_outage_is_declared_and_ends_once() -> None:
    given().when(DECLARE).then(OutageDeclared(**O1, tool="crm")).so(
        "outage:O-1", tool="crm", declared_at=day(5), ended_at=None, list_done=False, customer_id=None, version=1
    )
    given(DECLARED).when(DECLARE).refused("id-taken", "There is an outage O-1 already")
    given(DECLARED, ENDED).when(END).refused("not-allowed", "2026-03-03")


def test_the_end_of_an_outage_without_notes_closes_its_list() -> None:
    given(DECLARED).when(END).then(OutageEnded(**O1), DONE).so("outage:O-1", ended_at=day(5), list_done=True)
    given(DECLARED, TAKEN).when(END).then(OutageEnded(**O1)).so("outage:O-1", list_done=False)


def test_a_note_waits_to_be_cleared_and_its_customer_to_be_followed_up() -> None:
    given(DECLARED).when(TAKE).then(NoteTaken(**NOTE)).so(
        "outage:O-1", to_clear={"N-1"}, to_follow_up={"N-1"}, customers={"N-1": "C-1"}
    )
    given(DECLARED, TAKEN).when(CLEAR).then(CLEARED).so("outage:O-1", to_clear=set(), to_follow_up={"N-1"})
    given(DECLARED, TAKEN).when(FOLLOW).then(FOLLOWED).so("outage:O-1", to_clear={"N-1"}, to_follow_up=set())


def test_the_list_is_done_at_two_zeroes_only() -> None:
    given(DECLARED, TAKEN, ENDED, on(4, FOLLOWED)).when(CLEAR).then(CLEARED, DONE).so("outage:O-1", list_done=True)
    given(DECLARED, TAKEN, ENDED, on(4, CLEARED)).when(FOLLOW).then(FOLLOWED, DONE)
    given(DECLARED, TAKEN, OTHER, ENDED, on(4, FOLLOWED)).when(CLEAR).then(CLEARED)
    given(DECLARED, TAKEN, on(4, FOLLOWED)).when(CLEAR).then(CLEARED)
    given(DECLARED, TAKEN, on(2, FOLLOWED), on(2, CLEARED)).when(END).then(OutageEnded(**O1), DONE)


def test_a_note_that_arrives_late_opens_the_list_again_and_it_is_done_again() -> None:
    done = (DECLARED, ENDED, on(3, DONE))
    given(*done).when(TAKE).then(NoteTaken(**NOTE)).so("outage:O-1", list_done=False)
    given(*done, on(4, NoteTaken(**NOTE)), on(4, CLEARED)).when(FOLLOW).then(FOLLOWED, DONE).so("outage:O-1", version=7)


def test_customers_are_counted_once_however_many_notes() -> None:
    outage = told_states([DECLARED, TAKEN, OTHER])["outage:O-1"]
    assert isinstance(outage, Outage)
    assert customers_to_follow_up(outage) == {"C-1"}
    assert len(outage.to_clear) == 2


def test_a_note_is_taken_once_and_not_before_it_was_captured() -> None:
    given(DECLARED, TAKEN, on(3, CLEARED)).when(TAKE).refused("id-taken", "N-1")
    given(DECLARED).when(order(TakeNote, **NOTE | {"captured_at": day(6)})).refused("in-future", "captured_at")
    given(DECLARED).when(order(TakeNote, **NOTE | {"captured_at": day(5)})).then(
        NoteTaken(**NOTE | {"captured_at": day(5)})
    )


@pytest.mark.parametrize(("command", "done"), [(CLEAR, CLEARED), (FOLLOW, FOLLOWED)])
def test_each_note_is_cleared_and_followed_up_once(command: Any, done: Any) -> None:
    given(DECLARED).when(command).refused("unknown-note", "N-1", "O-1")
    given(DECLARED, TAKEN, on(3, done)).when(command).refused("not-allowed", "N-1")


@pytest.mark.parametrize("command", [END, TAKE, CLEAR, FOLLOW])
def test_there_must_be_an_outage(command: Any) -> None:
    given().when(command).refused("unknown-outage", "O-1")
    assert command.streams() == ("outage:O-1",)
