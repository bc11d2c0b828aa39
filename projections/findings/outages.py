"""Findings about outages: lists that stay open, notes that nobody read back, and claims of outages declared later."""

from ledger.domain.outages import NoteFollowedUp, NoteTaken, OutageDeclared, OutageEnded, OutageListDone
from projections.findings.facts import Facts, Rules
from projections.findings.records import ANY_OUTAGE, Outage, Said


def _declared(facts: Facts, event: OutageDeclared) -> None:
    """A declaration that reached us late, tools being down, clears what was said meanwhile."""
    facts.remember(event.stream, Outage(facts.at))
    facts.link("outages", ANY_OUTAGE, event.stream)
    for key in facts.targets("outage-claims", event.outage_id, ANY_OUTAGE):
        said = facts.recall(key, Said)
        if said is not None and facts.at <= said.made_at:
            facts.close(key, "false-outage-claim", at=said.made_at)


def _ended(facts: Facts, event: OutageEnded) -> None:
    outage = facts.recall(event.stream, Outage) or Outage()
    facts.remember(event.stream, outage._replace(ended_at=facts.at))
    facts.open(event.stream, "outage-list-open", facts.by("clear_within_hours", facts.at))


def _done(facts: Facts, event: OutageListDone) -> None:
    facts.close(event.stream, "outage-list-open")


def _taken(facts: Facts, event: NoteTaken) -> None:
    outage = facts.recall(event.stream, Outage)
    if outage is not None and outage.ended_at is not None:  # it reached us after the end: the list is open again
        facts.open(event.stream, "outage-list-open", facts.by("clear_within_hours", facts.at))
    if not event.read_back:
        key, detail = f"note:{event.outage_id}/{event.capture_id}", {"capture_id": event.capture_id}
        facts.open(
            key,
            "note-not-read-back",
            event.captured_at,
            subject=event.stream,
            customer_id=event.customer_id,
            detail=detail,
        )


def _followed_up(facts: Facts, event: NoteFollowedUp) -> None:
    facts.close(f"note:{event.outage_id}/{event.capture_id}", "note-not-read-back")


RULES: Rules = {
    OutageDeclared: _declared,
    OutageEnded: _ended,
    OutageListDone: _done,
    NoteTaken: _taken,
    NoteFollowedUp: _followed_up,
}
