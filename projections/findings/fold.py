"""One entry, all rules: pure, so that a test needs no database."""

from collections.abc import Iterator
from typing import Final

from ledger.domain.concerns import ConcernAcknowledged
from ledger.domain.outages import NoteTaken
from ledger.storage.entries import StoredEntry
from projections.findings import concerns, customers, outages, pace, policies, promises, telling, troubles, truth
from projections.findings.facts import Facts, Rules
from projections.findings.records import KINDS, topic_key

_GROUPS: Final = (promises, telling, truth, troubles, concerns, outages, pace, policies)
RULES: Final[Rules] = {event: rule for group in _GROUPS for event, rule in group.RULES.items()}
assert len(RULES) == sum(len(group.RULES) for group in _GROUPS), "an event has two rules"


def apply(facts: Facts, entry: StoredEntry) -> None:
    """What this entry opens and closes, and what later ones must remember of it."""
    facts.begin(entry)
    event = entry.event
    rule = RULES.get(type(event))
    if rule is not None:
        rule(facts, event)
    if event.customer_id is not None:
        customers.touch(facts, event)


def needs(entry: StoredEntry) -> Iterator[str]:
    """The keys that `apply` will ask for, as far as the entry tells: asked for together, they cost one question."""
    event, stream = entry.event, entry.heading.stream
    customer_id = event.customer_id
    if stream.partition(":")[0] in KINDS:
        yield stream
    if customer_id is not None:
        yield f"customer:{customer_id}"
        about = telling.about_stream(event)
        if about is not None:
            yield about
            yield topic_key(about, customer_id)
    members = event.__dict__  # getattr with a default is slow on models that have no such member
    for disclosure_id in members.get("based_on", ()):
        yield f"disclosure:{disclosure_id}"
    if (kind := members.get("kind")) is not None:
        yield f"pace:{kind}"
    if type(event) is ConcernAcknowledged:
        yield f"listened:{event.concern_id}"
    if type(event) is NoteTaken:
        yield f"note:{event.outage_id}/{event.capture_id}"
