"""Customers who were erased: what only a word to them could put right ends with that, and never opens afterwards."""

from datetime import datetime
from typing import Any, Final

from ledger.domain.erasures import ErasureRequested
from projections.findings.facts import Facts
from projections.findings.records import Dated, Gone

_UNTIL_ERASED: Final = (
    "divergent-reason",
    "rests-on-falsehood",
    "repeated-falsehood",
    "false-outage-claim",
    "unowned",
    "apology-without-step",
)
"""Of disclosures and apologies: a further word to them closes these. A promise can still be kept, accepted or ended."""


def key_of(customer_id: str) -> str:
    """Under which is remembered whether the customer was erased."""
    return f"erasure:{customer_id}"


def since(facts: Facts, customer_id: str) -> Dated | None:
    """When the customer was erased, as the ledger wrote it down; None while they can be spoken with."""
    gone = facts.recall(key_of(customer_id), Gone)
    return None if gone is None else gone.requested


def open_until(
    facts: Facts,
    key: str,
    code: str,
    at: datetime,
    *,
    customer_id: str,
    detail: dict[str, Any] | None = None,
    earliest: bool = False,
) -> None:
    """As `Facts.open`, for what the customer's erasure closes; nothing happens where they were erased before."""
    assert code in _UNTIL_ERASED, code
    if since(facts, customer_id) is not None:
        return
    if facts.slot(key, code) is None:
        facts.link("until-erased", f"customer:{customer_id}", key)
    facts.open(key, code, at, customer_id=customer_id, detail=detail, earliest=earliest)


def close(facts: Facts, event: ErasureRequested) -> None:
    """They cannot be told any more, from when the ledger wrote that down: until then they could."""
    requested = facts.happened.recorded_at, facts.leaf_index
    facts.remember(event.stream, Gone(requested))
    keys = facts.targets("until-erased", f"customer:{event.customer_id}")
    facts.prefetch(keys)
    for key in keys:
        facts.close(key, *_UNTIL_ERASED, at=requested[0])
