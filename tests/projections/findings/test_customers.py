"""Findings about customers as a whole, and about outages and their notes."""

from datetime import datetime, timedelta

from ledger.domain.customers import CustomerLost, CustomerReturned
from ledger.domain.deadlines import DeadlinePassed
from ledger.domain.erasures import ErasureRequested
from ledger.domain.followups import FollowUpAttempted
from ledger.domain.outages import NoteCleared, NoteFollowedUp, NoteTaken, OutageDeclared, OutageEnded, OutageListDone
from ledger.domain.promise_messages import PromiseDisputed, PromiseReleased
from ledger.domain.remarks import RemarkAdded
from tests.domain.story import Fact, day, made, on, raised
from tests.projections.findings.story import claimed, contact, given, promise

LONG = made(due_at=day(28))
LOST = on(5, CustomerLost(customer_id="C-1", attributed_to="price"))
LOST_12 = on(12, CustomerLost(customer_id="C-1", attributed_to="price"))
RELEASED = promise(PromiseReleased, 5, evidence="letter-1")


def after(moment: datetime, days: int) -> datetime:
    return moment + timedelta(days=days)


def test_who_is_owed_something_is_not_left_without_a_word() -> None:
    assert given(LONG).intervals("silent-customer", "customer:C-1", "C-1") == [(day(8), None)]
    assert given(LONG, contact(6)).intervals("silent-customer") == [(day(13), None)]
    assert given(LONG, contact(10)).intervals("silent-customer") == [(day(8), day(10)), (day(17), None)]
    assert given(contact(1)).intervals("silent-customer") == []  # nothing is owed
    assert given(LONG, contact(6, "C-2")).intervals("silent-customer", "customer:C-1") == [(day(8), None)]


def test_what_is_owed_no_more_ends_the_silence() -> None:
    assert given(LONG, RELEASED).intervals("silent-customer") == []
    assert given(LONG, Fact(RELEASED.event, day(10))).intervals("silent-customer") == [(day(8), day(10))]
    assert given(LONG, made("P-2", due_at=day(28)), RELEASED).intervals("silent-customer") == [(day(8), None)]
    again = [made(verification="not_required"), claimed(5), promise(PromiseDisputed, 6, text="It is not.")]
    assert given(again).intervals("silent-customer") == [(day(13), None)]
    assert given(LONG, LOST).intervals("silent-customer") == []
    kept = [LONG, made("P-2", verification="not_required"), LOST, claimed(6, "P-2")]
    assert given(kept).intervals("silent-customer") == []  # P-1 is owed to one who left
    assert given(LONG, LOST, on(9, CustomerReturned(customer_id="C-1"))).intervals("silent-customer") == [
        (day(16), None)
    ]


def test_nobody_is_to_speak_with_an_erased_customer() -> None:
    erased = on(10, ErasureRequested(customer_id="C-1", grounds="art-17"))
    for code, opens in (("silent-customer", day(8)), ("neglected-customer", after(day(1), 90))):
        until = [(opens, day(10))] if opens < day(10) else []
        for later in ([], [contact(12)], [contact(9)], [on(12, CustomerReturned(customer_id="C-1"))], [LOST_12]):
            assert given(LONG, erased, *later).intervals(code, "customer:C-1") == until
        assert given(LONG, erased, made("P-2", due_at=day(28))).intervals(code, "customer:C-1") == until
    late = Fact(erased.event, after(day(1), 95))
    assert given(contact(1), late).intervals("neglected-customer") == [(after(day(1), 90), after(day(1), 95))]
    recorded_on_12 = given(LONG, contact(12, "C-2"), erased)
    assert recorded_on_12.intervals("silent-customer", "customer:C-1") == [(day(8), day(12))]
    assert given(LONG, contact(1, "C-2"), erased).intervals("neglected-customer") == [(after(day(1), 90), None)]


def test_only_words_count_and_not_what_we_do_among_ourselves() -> None:
    remark = on(6, RemarkAdded(remark_id="R-1", customer_id="C-1", text="Kind."))
    missed = on(6, FollowUpAttempted(followup_id="F-1", customer_id="C-1", channel="phone", reached=False))
    reached = on(6, FollowUpAttempted(followup_id="F-1", customer_id="C-1", channel="phone", reached=True))
    announced = on(6, DeadlinePassed(promise_id="P-1", customer_id="C-1", due_at=day(28)))
    for fact in (remark, missed, announced, Fact(raised().event, day(6))):  # the last is theirs, and no answer
        assert given(LONG, fact).intervals("silent-customer") == [(day(8), None)]
    assert given(LONG, reached).intervals("silent-customer") == [(day(13), None)]


def test_what_is_told_late_moves_nothing_that_came_after() -> None:
    assert given(LONG, contact(6), contact(4)).intervals("silent-customer") == [(day(13), None)]


def test_a_customer_of_whom_nothing_is_heard_is_neglected() -> None:
    assert given(contact(1)).intervals("neglected-customer", "customer:C-1") == [(after(day(1), 90), None)]
    assert given(contact(1), Fact(raised().event, day(9))).intervals("neglected-customer") == [
        (after(day(9), 90), None)
    ]
    late = Fact(contact(2).event, after(day(1), 95))
    assert given(contact(1), late).intervals("neglected-customer") == [
        (after(day(1), 90), after(day(1), 95)),
        (after(day(1), 185), None),
    ]
    assert given(contact(1), LOST).intervals("neglected-customer") == []
    lost_late = Fact(LOST.event, after(day(1), 95))
    assert given(contact(1), lost_late).intervals("neglected-customer") == [(after(day(1), 90), after(day(1), 95))]


def note(number: int, read_back: bool = True) -> Fact:
    return on(
        number,
        NoteTaken(
            outage_id="O-1",
            capture_id="N-1",
            captured_at=day(number),
            customer_id="C-1",
            text="So.",
            read_back=read_back,
        ),
    )


DECLARED = on(1, OutageDeclared(outage_id="O-1", tool="crm"))
ENDED = on(4, OutageEnded(outage_id="O-1"))
CLEARED = on(6, NoteCleared(outage_id="O-1", capture_id="N-1", customer_id="C-1", by=("P-1",)))
FOLLOWED_UP = on(7, NoteFollowedUp(outage_id="O-1", capture_id="N-1", customer_id="C-1"))


def done(number: int) -> Fact:
    return on(number, OutageListDone(outage_id="O-1"))


def test_the_list_of_an_outage_is_done_in_time_after_its_end() -> None:
    facts = [DECLARED, note(2), ENDED, CLEARED]
    assert given(facts[:2]).intervals("outage-list-open") == []
    assert given(facts).intervals("outage-list-open", "outage:O-1") == [(day(5), None)]
    assert given(facts, FOLLOWED_UP, done(7)).intervals("outage-list-open") == [(day(5), day(7))]
    assert given(DECLARED, ENDED, done(4)).intervals("outage-list-open") == []


def test_a_note_that_arrives_late_opens_the_list_again() -> None:
    assert given(DECLARED, ENDED, done(4), note(8)).intervals("outage-list-open") == [(day(9), None)]
    assert given(DECLARED, ENDED, done(4), note(8), done(9)).intervals("outage-list-open") == []


def test_a_note_not_read_back_waits_for_its_customer_to_be_gone_back_to() -> None:
    told = given(DECLARED, note(2, read_back=False))
    assert told.intervals("note-not-read-back", "outage:O-1", "C-1") == [(day(2), None)]
    assert told.detail("note-not-read-back") == {"capture_id": "N-1"}
    assert given(DECLARED, note(2, read_back=False), CLEARED).intervals("note-not-read-back") == [(day(2), None)]
    assert given(DECLARED, note(2, read_back=False), FOLLOWED_UP).intervals("note-not-read-back") == [(day(2), day(7))]
    assert given(DECLARED, note(2)).intervals("note-not-read-back") == []
