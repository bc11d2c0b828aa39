"""`given(facts)`, then which findings are open when: a fold without a database.

Stories play in March 2026 like those of the domain. Before any policy the default hours count: 24 to disclose, correct,
acknowledge, accept and clear, 48 to apologise, 72 to address and confirm, 168 to verify and of silence, 2160 of being
neglected.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from ledger.domain.contacts import ContactRecorded
from ledger.domain.disclosures import DisclosureFalsified, DisclosureMade
from ledger.domain.model import Happened
from ledger.domain.promise_messages import PromiseClaimedKept, PromiseEvent
from ledger.storage.entries import Heading, StoredEntry, personal_data
from projections.findings import fold
from projections.findings.facts import Facts, Finding
from projections.findings.records import Customer, Remembered
from tests.domain.story import Fact, day, on

Interval = tuple[datetime, datetime | None]


class Shelf:
    """A store that keeps links; the facts of a story stay in memory."""

    def __init__(self) -> None:
        self._links: list[tuple[str, str, str]] = []

    def load(self, keys: Collection[str]) -> dict[str, Remembered]:
        return {}

    def link(self, kind: str, source: str, target: str, leaf_index: int) -> None:
        self._links.append((kind, source, target))

    def targets(self, kind: str, sources: Collection[str]) -> list[str]:
        return [target for each, source, target in self._links if each == kind and source in sources]

    def downstream(self, kind: str, source: str) -> list[str]:
        found: dict[str, None] = {}
        waiting = [source]
        while waiting:
            for target in self.targets(kind, [waiting.pop()]):
                if target not in found:
                    found[target] = None
                    waiting.append(target)
        return sorted(set(found) - {source})


class Told:
    """The findings that a story makes."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = Facts(Shelf())
        self._customers: set[str] = set()
        recorded_at = facts[0].at
        for leaf_index, fact in enumerate(facts):
            recorded_at = max(recorded_at, fact.at)
            fold.apply(self._facts, entry(leaf_index, fact, recorded_at))
            if fact.event.customer_id is not None:
                self._customers.add(fact.event.customer_id)

    def all(self) -> Iterator[Finding]:
        """Every finding, prevented ones too, and the tails as rows."""
        yield from self._facts.opened.values()
        for customer_id in sorted(self._customers):
            key = f"customer:{customer_id}"
            customer = self._facts.recall(key, Customer)
            if customer is not None and customer.silent_from is not None:
                yield _tail("silent-customer", key, customer.silent_from)
            if customer is not None and customer.neglected_from is not None:
                yield _tail("neglected-customer", key, customer.neglected_from)

    def intervals(self, code: str, subject: str | None = None, customer_id: str | None = None) -> list[Interval]:
        """When findings of that code were, are and will be open; those prevented are not among them."""
        return [
            (each.opened_at, each.closed_at)
            for each in self.all()
            if each.code == code
            and subject in (None, each.subject)
            and customer_id in (None, each.customer_id)
            and (each.closed_at is None or each.closed_at > each.opened_at)
        ]

    def open_at(self, moment: datetime) -> set[tuple[str, str]]:
        """(code, subject) of what is open at `moment`."""
        return {
            (each.code, each.subject)
            for each in self.all()
            if each.opened_at <= moment and (each.closed_at is None or moment < each.closed_at)
        }

    def detail(self, code: str) -> dict[str, Any]:
        """The detail of the only finding of that code."""
        (found,) = (each.detail for each in self.all() if each.code == code)
        return found


def _tail(code: str, key: str, opened_at: datetime) -> Finding:
    return Finding(0, 0, code, key, key.removeprefix("customer:"), None, opened_at, opened_at, {})


def entry(leaf_index: int, fact: Fact, recorded_at: datetime) -> StoredEntry:
    """The fact as the log gives it back: its texts are sealed."""
    event = fact.event
    personal = None if personal_data(event) is None else {"commitment": "", "key": 1}
    sealed = event.model_copy(update=dict.fromkeys(event.PERSONAL))
    happened = Happened(fact.at, recorded_at, fact.actor, "crm")
    heading = Heading(f"e-{leaf_index}", event.stream, 1, happened, f"c-{leaf_index}", "", None)
    return StoredEntry(leaf_index, sealed, heading, personal)


def given(*facts: Fact | Sequence[Fact]) -> Told:
    """The findings after these facts, one after another."""
    flat = [each for fact in facts for each in ([fact] if isinstance(fact, Fact) else fact)]
    return Told(flat)


def promise(event: type[PromiseEvent], number: int, promise_id: str = "P-1", **members: Any) -> Fact:
    return on(number, event(promise_id=promise_id, customer_id="C-1", **members))


def claimed(number: int, promise_id: str = "P-1") -> Fact:
    return promise(PromiseClaimedKept, number, promise_id)


def disclosed(number: int, disclosure_id: str = "D-1", customer_id: str = "C-1", **changes: Any) -> Fact:
    """A disclosure with a way forward, by phone, of what is known, about nothing unless said otherwise."""
    members: dict[str, Any] = {
        "disclosure_id": disclosure_id,
        "customer_id": customer_id,
        "text": "It comes later.",
        "owner": "u-1",
        "apology": False,
        "channel": "phone",
        "basis": "known",
        "solution_ref": "S-1",
    }
    return on(number, DisclosureMade(**members | changes))


def falsified(number: int, known_since: int, disclosure_id: str = "D-1", customer_id: str = "C-1") -> Fact:
    return on(
        number,
        DisclosureFalsified(disclosure_id=disclosure_id, customer_id=customer_id, known_since=day(known_since)),
    )


def contact(number: int, customer_id: str = "C-1") -> Fact:
    return on(
        number,
        ContactRecorded(contact_id=f"K-{number}", customer_id=customer_id, channel="phone", outcome="resolved"),
    )


def hours(number: float) -> timedelta:
    return timedelta(hours=number)
