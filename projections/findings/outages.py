"""Findings about outages: lists that stay open, notes that nobody read back, and claims of outages declared later."""

from datetime import datetime

from ledger.domain.concerns import Concern
from ledger.domain.outages import NoteCleared, NoteFollowedUp, NoteTaken, OutageDeclared, OutageEnded, OutageListDone
from ledger.domain.promise_state import Promise
from projections.findings import erased
from projections.findings.facts import Facts, Rules
from projections.findings.records import ANY_OUTAGE, Outage, Said, Trouble


def judge(facts: Facts, key: str) -> None:
    """The outage that the disclosure `key` names, or gives as the reason, was none: as far as is known now.

    One must have been declared when it was told, and not over before what it is about came up.
    """
    said = facts.recall(key, Said)
    assert said is not None
    if said.outage_id is None:
        return
    named = said.outage_id != ANY_OUTAGE
    streams = [f"outage:{said.outage_id}"] if named else facts.targets("outages", ANY_OUTAGE)
    facts.prefetch(streams)
    if any(_true(facts, key, said, stream) for stream in streams):
        return
    facts.link("outage-claims", said.outage_id, key)
    detail = {"outage_id": said.outage_id if named else None}
    erased.open_until(facts, key, "false-outage-claim", said.made_at, customer_id=said.customer_id, detail=detail)
    if said.corrected_at is not None:
        facts.close(key, "false-outage-claim", at=said.corrected_at)


def _true(facts: Facts, key: str, said: Said, stream: str) -> bool:
    """Whether this outage bears the claim out: if it does, the claim is judged again when its end is known."""
    outage = facts.recall(stream, Outage)
    if outage is None or outage.declared_at is None or outage.declared_at > said.made_at:
        return False
    since = min(_came_up(facts, said.about) or said.made_at, said.made_at)
    if outage.ended_at is not None and outage.ended_at < since:
        return False
    facts.link("borne-out", stream, key)
    facts.close(key, "false-outage-claim", at=said.made_at)
    return True


def _came_up(facts: Facts, about: str | None) -> datetime | None:
    """When the thing came up that a disclosure is about: an outage since then may be its reason."""
    if about is None:
        return None
    match about.partition(":")[0]:
        case "problem":
            problem = facts.recall(about, Trouble)
            return None if problem is None else problem.known_since
        case "promise":
            promise = facts.recall(about, Promise)
            return None if promise is None else promise.made_at
        case "concern":
            concern = facts.recall(about, Concern)
            return None if concern is None else concern.raised_at
    return None


def _declared(facts: Facts, event: OutageDeclared) -> None:
    """A declaration that reached us late, tools being down, clears what was said meanwhile."""
    facts.remember(event.stream, Outage(facts.at))
    facts.link("outages", ANY_OUTAGE, event.stream)
    for key in facts.targets("outage-claims", event.outage_id, ANY_OUTAGE):
        said = facts.recall(key, Said)
        if said is not None:
            _true(facts, key, said, event.stream)


def _ended(facts: Facts, event: OutageEnded) -> None:
    """An end that reached us late may show that what was said meanwhile was untrue."""
    outage = facts.recall(event.stream, Outage) or Outage()
    facts.remember(event.stream, outage._replace(ended_at=facts.at))
    _last_done(facts, event)
    for key in facts.targets("borne-out", event.stream):
        judge(facts, key)
    facts.open(event.stream, "outage-list-open", facts.by("clear_within_hours", facts.at))


def _last_done(facts: Facts, event: OutageEnded | NoteCleared | NoteFollowedUp) -> None:
    outage = facts.recall(event.stream, Outage) or Outage()
    last = max(outage.last_done_at or facts.at, facts.at)
    facts.remember(event.stream, outage._replace(last_done_at=last))


def _done(facts: Facts, event: OutageListDone) -> None:
    """With the last thing that was done, which need not be the one recorded last."""
    outage = facts.recall(event.stream, Outage) or Outage()
    facts.close(event.stream, "outage-list-open", at=max(outage.last_done_at or facts.at, facts.at))


def _taken(facts: Facts, event: NoteTaken) -> None:
    outage = facts.recall(event.stream, Outage)
    if outage is not None and outage.ended_at is not None:  # it reached us after the end: the list is open again
        open_since = max(facts.at, outage.ended_at)
        facts.open(event.stream, "outage-list-open", facts.by("clear_within_hours", open_since))
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
    _last_done(facts, event)
    facts.close(f"note:{event.outage_id}/{event.capture_id}", "note-not-read-back")


RULES: Rules = {
    OutageDeclared: _declared,
    OutageEnded: _ended,
    OutageListDone: _done,
    NoteTaken: _taken,
    NoteCleared: _last_done,
    NoteFollowedUp: _followed_up,
}
