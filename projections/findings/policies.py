"""The policies by which findings open: each cause is held against the version in effect when it happened."""

from typing import Any

from ledger.domain.policies import PolicyPublished
from projections.findings.facts import DEFAULT_HOURS, POLICIES, Facts, Rules
from projections.findings.records import Policies


def _published(facts: Facts, event: PolicyPublished) -> None:
    """The versions of all policies stay in the order in which they take effect, as `in_effect` wants them."""
    known = facts.recall(POLICIES, Policies) or Policies()
    hours: dict[str, Any] = {name: getattr(event, name) for name in DEFAULT_HOURS}
    versions = [*zip(known.effective_from, known.hours, strict=True), (event.effective_from, hours)]
    versions.sort(key=lambda version: version[0])
    facts.remember(POLICIES, Policies(tuple(each for each, _ in versions), tuple(each for _, each in versions)))


RULES: Rules = {PolicyPublished: _published}
