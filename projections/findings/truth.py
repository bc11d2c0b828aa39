"""Findings about truth: reasons that differ from the cause, falsehoods and what rests on them, corrections owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.domain.concerns import Concern
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
    for about in [said.about] if said.about.startswith("promise:") else _problems(facts, said):
        facts.link("reasons", about, key)
    _compare(facts, key)


def cause_known(facts: Facts, problem: str) -> None:
    """The cause of `problem` is known, or another: every reason that was given for it is compared."""
    told_of = facts.targets("reasons", problem, *facts.targets("promises", problem))
    facts.prefetch(told_of)
    for key in told_of:
        _compare(facts, key)


def touched(facts: Facts, problem: str, promise: Promise) -> None:
    """What was, or will be, said as the reason about `promise` is held against the cause of `problem` too."""
    stream = f"promise:{promise.promise_id}"
    topic = topic_key(stream, promise.customer_id)
    known = facts.recall(topic, Topic) or Topic()
    if problem not in known.problems:
        facts.link("promises", problem, stream)
        facts.remember(topic, known._replace(problems=(*known.problems, problem)))
    for key in facts.targets("reasons", stream):
        _compare(facts, key)


def _problems(facts: Facts, said: Said) -> Sequence[str]:
    """The problems whose causes a reason is held against: it was given for them, or for what they touch."""
    assert said.about is not None
    match said.about.partition(":")[0]:
        case "problem":
            return (said.about,)
        case "promise":
            topic = facts.recall(topic_key(said.about, said.customer_id), Topic)
            return () if topic is None else topic.problems
    concern = facts.recall(said.about, Concern)
    return () if concern is None or concern.problem_id is None else (f"problem:{concern.problem_id}",)


def _compare(facts: Facts, key: str) -> None:
    """The reason is divergent while it differs from any of the causes that it is held against."""
    said = facts.recall(key, Said)
    assert said is not None
    if said.corrected_at is not None:
        return
    troubles = ((problem, facts.recall(problem, Trouble)) for problem in _problems(facts, said))
    differing = [(problem, trouble) for problem, trouble in troubles if trouble is not None and _differs(said, trouble)]
    if not differing:
        facts.close(key, "divergent-reason")
        return
    problem, trouble = differing[0]
    assert trouble.cause_at is not None
    detail = {
        "problem_id": problem.removeprefix("problem:"),
        "told": {"reason_class": said.reason_class, "control": said.control},
        "cause": {"cause_class": trouble.cause_class, "control": trouble.control},
    }
    opens_at = max(said.made_at, trouble.cause_at)
    facts.open(key, "divergent-reason", opens_at, customer_id=said.customer_id, detail=detail)


def _differs(said: Said, trouble: Trouble) -> bool:
    if trouble.cause_at is None:
        return False
    return said.reason_class not in (None, trouble.cause_class) or said.control not in (None, trouble.control)


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
            _promise_contaminated(facts, each, promise, event.disclosure_id, event.known_since, promise.made_at)
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
            _promise_contaminated(facts, key, promise, base.falsehood, base.false_since, facts.at)


def _promise_contaminated(
    facts: Facts, key: str, promise: Promise, falsehood: str, known_since: datetime, owed_since: datetime
) -> None:
    """The promise rests on what is known to be false since then: a finding while it is owed."""
    if promise.standing == "ended":
        return
    detail = {"falsehood": falsehood}
    opens_at = max(known_since, owed_since)
    facts.open(key, "rests-on-falsehood", opens_at, customer_id=promise.customer_id, detail=detail)
    if promise.made_at > known_since:
        facts.open(key, "repeated-falsehood", owed_since, customer_id=promise.customer_id, detail=detail)


def _corrected(facts: Facts, event: DisclosureCorrected) -> None:
    key = event.stream
    said = facts.recall(key, Said)
    assert said is not None
    if said.corrected_at is None:
        facts.remember(key, said._replace(corrected_at=facts.at))
    facts.close(key, *_UNTIL_CORRECTED)


RULES: Rules = {DisclosureFalsified: _falsified, DisclosureCorrected: _corrected}
