"""Findings about truth: reasons that differ from the cause, falsehoods and what rests on them, corrections owed."""

from datetime import datetime
from typing import Any

from ledger.domain.disclosures import DisclosureCorrected, DisclosureFalsified, DisclosureMade
from ledger.domain.promises import Promise
from projections.findings.facts import Facts, Rules
from projections.findings.records import Said, Topic, Trouble, topic_key

_UNTIL_CORRECTED = (
    "correction-owed",
    "rests-on-falsehood",
    "repeated-falsehood",
    "divergent-reason",
    "disclosure-without-way-forward",
    "false-outage-claim",
    "unowned",
    "assumption-open",
)


def told(facts: Facts, key: str, event: DisclosureMade) -> None:
    """What a new disclosure rests on, and whether its reason is the recorded cause."""
    for disclosure_id in dict.fromkeys(event.based_on):
        facts.link("rests", f"disclosure:{disclosure_id}", key)
    for disclosure_id in event.based_on:
        base = facts.recall(f"disclosure:{disclosure_id}", Said)
        if base is not None and base.false_since is not None:
            assert base.falsehood is not None
            _contaminated(facts, key, base.falsehood, base.false_since)
    said = facts.recall(key, Said)
    assert said is not None
    if said.about is None or (said.reason_class is None and said.control is None):
        return
    facts.link("reasons", said.about, key)
    if said.about.startswith("problem:"):
        _compare(facts, key, said.about)
    elif said.about.startswith("promise:"):
        topic = facts.recall(topic_key(said.about, said.customer_id), Topic)
        for problem in () if topic is None else topic.problems:
            _compare(facts, key, problem)


def cause_known(facts: Facts, problem: str) -> None:
    """The cause of `problem` is known, or another: every reason that was given for it is compared."""
    told_of = facts.targets("reasons", problem, *facts.targets("promises", problem))
    facts.prefetch(told_of)
    for key in told_of:
        _compare(facts, key, problem)


def _compare(facts: Facts, key: str, problem: str) -> None:
    said, trouble = facts.recall(key, Said), facts.recall(problem, Trouble)
    assert said is not None
    if trouble is None or trouble.cause_at is None or said.corrected_at is not None:
        return
    differs = said.reason_class not in (None, trouble.cause_class) or said.control not in (None, trouble.control)
    if not differs:
        facts.close(key, "divergent-reason")
        return
    detail = {
        "problem_id": problem.removeprefix("problem:"),
        "told": {"reason_class": said.reason_class, "control": said.control},
        "cause": {"cause_class": trouble.cause_class, "control": trouble.control},
    }
    opens_at = max(said.made_at, trouble.cause_at)
    facts.open(key, "divergent-reason", opens_at, customer_id=said.customer_id, detail=detail)


def _falsified(facts: Facts, event: DisclosureFalsified) -> None:
    """Contaminates everything that rests on it, through whatever length of chain."""
    key = event.stream
    facts.close(key, "assumption-open")
    _contaminated(facts, key, event.disclosure_id, event.known_since, itself=True)
    resting = facts.downstream("rests", key)
    facts.prefetch(resting)
    for each in resting:
        if each.startswith("promise:"):
            promise = facts.recall(each, Promise)
            assert promise is not None
            _promise_contaminated(facts, each, promise, event.disclosure_id, event.known_since)
        else:
            _contaminated(facts, each, event.disclosure_id, event.known_since)


def _contaminated(facts: Facts, key: str, falsehood: str, known_since: datetime, *, itself: bool = False) -> None:
    """What this disclosure said is false, or rests on it: whoever heard it is owed a correction."""
    said = facts.recall(key, Said)
    assert said is not None
    if said.false_since is None or known_since < said.false_since:
        facts.remember(key, said._replace(false_since=known_since, falsehood=falsehood))
    opens_at = max(known_since, said.made_at)
    correct_by = facts.by("correct_within_hours", opens_at)
    detail: dict[str, Any] = {"falsehood": falsehood}
    facts.open(
        key, "correction-owed", opens_at, customer_id=said.customer_id, detail=detail | {"correct_by": correct_by}
    )
    if not itself:
        facts.open(key, "rests-on-falsehood", opens_at, customer_id=said.customer_id, detail=detail)
        if said.made_at > known_since:
            facts.open(key, "repeated-falsehood", said.made_at, customer_id=said.customer_id, detail=detail)
    if said.corrected_at is not None:
        facts.close(key, *_UNTIL_CORRECTED, at=said.corrected_at)


def rests(facts: Facts, key: str, promise: Promise) -> None:
    """The promise is owed: what it rests on may be known to be false, or rest on what is."""
    for disclosure_id in promise.based_on:
        base = facts.recall(f"disclosure:{disclosure_id}", Said)
        if base is not None and base.false_since is not None:
            assert base.falsehood is not None
            _promise_contaminated(facts, key, promise, base.falsehood, base.false_since)


def _promise_contaminated(facts: Facts, key: str, promise: Promise, falsehood: str, known_since: datetime) -> None:
    """The promise rests on what is known to be false since then: a finding while it is owed."""
    if promise.standing == "ended":
        return
    detail = {"falsehood": falsehood}
    opens_at = max(known_since, promise.made_at)
    facts.open(key, "rests-on-falsehood", opens_at, customer_id=promise.customer_id, detail=detail)
    if promise.made_at > known_since:
        facts.open(key, "repeated-falsehood", promise.made_at, customer_id=promise.customer_id, detail=detail)


def _corrected(facts: Facts, event: DisclosureCorrected) -> None:
    key = event.stream
    said = facts.recall(key, Said)
    assert said is not None
    if said.corrected_at is None:
        facts.remember(key, said._replace(corrected_at=facts.at))
    facts.close(key, *_UNTIL_CORRECTED)


RULES: Rules = {DisclosureFalsified: _falsified, DisclosureCorrected: _corrected}
