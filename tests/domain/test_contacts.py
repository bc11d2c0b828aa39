"""contact.record, and the refusals on record."""

from ledger.domain.contacts import ContactRecorded, RecordContact
from ledger.domain.model import Event
from ledger.domain.refusals import CommandRefused
from tests.domain.story import given, on, order, told_states

CONTACT = {"contact_id": "K-1", "customer_id": "C-1", "channel": "chat", "outcome": "resolved", "text": "All is well."}


def test_a_contact_is_recorded_once() -> None:
    event = ContactRecorded.model_validate(CONTACT)
    given().when(order(RecordContact, **CONTACT)).then(event).so("contact:K-1", customer_id="C-1", version=1)
    given(on(2, event)).when(order(RecordContact, **CONTACT)).refused("id-taken", "K-1")


def test_refusals_are_counted_by_source_and_belong_to_no_customer() -> None:
    refusal: Event = CommandRefused(
        refused_source="crm", refused_id="m-1", command_type="promise.make", code="id-taken", message="There is one."
    )
    source = told_states([on(1, refusal), on(2, refusal)])["source:crm"]
    assert (source.customer_id, source.version) == (None, 2)
    assert CommandRefused.PERSONAL == ()
