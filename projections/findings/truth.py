"""Findings about truth: reasons that differ from the cause, falsehoods and what rests on them, corrections owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.domain.concerns import Concern
from ledger.domain.disclosures import DisclosureCorrected, DisclosureFalsified, DisclosureMade
from ledger.domain.promise_state import Promise
from projections.findings import erased
from projections.findings.facts import Facts, Rules
from projections.findings.records import LAST, Said, Topic, Trouble, dated, first_since, topic_key

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
    _prefetch(facts, told_of)
    for key in told_of:
        _compare(facts, key)


def _prefetch(facts: Facts, told_of: Sequence[str]) -> None:
    """What was said, and whether those whom it was said to were erased."""
    facts.prefetch(told_of)
    said = (facts.recall(key, Said) for key in told_of if key.startswith("disclosure:"))
    facts.prefetch({erased.key_of(each.customer_id): None for each in said if each is not None})


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
    recalled = ((problem, facts.recall(problem, Trouble)) for problem in _problems(facts, said))
    spans = [
        (span, problem, trouble)
        for problem, trouble in recalled
        if trouble is not None
        for span in _differing(said, trouble)
    ]
    now = [(problem, trouble) for (_, end), problem, trouble in spans if end is None]
    if not now:
        facts.close(key, "divergent-reason")
        return
    problem, trouble = now[0]
    detail = {
        "problem_id": problem.removeprefix("problem:"),
        "told": {"reason_class": said.reason_class, "control": said.control},
        "cause": {"cause_class": trouble.cause_class, "control": trouble.control},
    }
    opens_at = max(said.made_at, _since([span for span, _, _ in spans]))
    slot = facts.slot(key, "divergent-reason")
    if slot is not None and slot.opened_at < opens_at:  # a cause told late: for a while the reason was none other
        facts.close(key, "divergent-reason")
    erased.open_until(
        facts, key, "divergent-reason", opens_at, customer_id=said.customer_id, detail=detail, earliest=True
    )


_Span = tuple[datetime, datetime | None]


def _differing(said: Said, trouble: Trouble) -> list[_Span]:
    """From when until when what was told differs from the cause of this problem, as known then."""
    ends = (*trouble.caused_at, None)[1:]
    return [
        (start, end)
        for start, end, (cause_class, control) in zip(trouble.caused_at, ends, trouble.causes, strict=True)
        if said.reason_class not in (None, cause_class) or said.control not in (None, control)
    ]


def _since(spans: Sequence[_Span]) -> datetime:
    """Since when there has always been one of them."""
    since = min(start for start, end in spans if end is None)
    over = sorted(((end, start) for start, end in spans if end is not None), reverse=True)
    for end, start in over:
        since = min(since, start) if since <= end else since
    return since


def _falsified(facts: Facts, event: DisclosureFalsified) -> None:
    """Contaminates everything that rests on it, through whatever length of chain."""
    key = event.stream
    facts.close(key, "assumption-open")
    _contaminated(facts, key, event.disclosure_id, event.known_since, itself=True)
    resting = facts.downstream("rests", key)
    _prefetch(facts, resting)
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
    members: dict[str, Any] = {"customer_id": said.customer_id, "detail": {"falsehood": falsehood}}
    _owe(facts, key, falsehood, opens_at)
    if not itself:
        erased.open_until(facts, key, "rests-on-falsehood", opens_at, earliest=True, **members)
        if said.made_at > known_since:
            erased.open_until(facts, key, "repeated-falsehood", said.made_at, **members)
    if said.corrected_at is not None:
        facts.close(key, *_UNTIL_CORRECTED, at=said.corrected_at)


def _owe(facts: Facts, key: str, falsehood: str, since: datetime) -> None:
    """A correction is owed since then, until the first attempt after that: also one that is on record already."""
    said = facts.recall(key, Said)
    assert said is not None
    if since in said.owed_from:
        return
    facts.remember(key, said._replace(owed_from=tuple(sorted((*said.owed_from, since)))[-LAST:]))
    if _owed_already(said, since):
        return
    attempt, slot = first_since(said.attempts, since), facts.slot(key, "correction-owed")
    correct_by = facts.by("correct_within_hours", since)
    members: dict[str, Any] = {"customer_id": said.customer_id}
    members["detail"] = {"falsehood": falsehood, "correct_by": correct_by}
    if slot is not None and attempt is not None:  # another falsehood, known after the attempt, is owed still
        facts.past(key, "correction-owed", since, attempt, **members)
    else:
        facts.open(key, "correction-owed", since, earliest=True, **members)
        facts.closed_before(key, "correction-owed", attempt)


def _owed_already(said: Said, since: datetime) -> bool:
    """Whether a falsehood known before has been unanswered until then."""
    before = [each for each in said.owed_from if each <= since]
    attempt = first_since(said.attempts, before[-1]) if before else None
    return bool(before) and (attempt is None or attempt[0] >= since)


def attempted(facts: Facts, key: str) -> None:
    """Somebody tried to reach the person about this disclosure: an answer to what was known to be false by then."""
    said = facts.recall(key, Said)
    if said is None:
        return
    facts.remember(key, said._replace(attempts=dated(said.attempts, facts.dated)))
    slot = facts.slot(key, "correction-owed")
    if slot is None or facts.at < slot.opened_at:
        return
    facts.close(key, "correction-owed")
    later = [each for each in said.owed_from if each > facts.at]
    if later:
        correct_by = facts.by("correct_within_hours", later[0])
        detail = {"falsehood": said.falsehood, "correct_by": correct_by}
        facts.open(key, "correction-owed", later[0], customer_id=said.customer_id, detail=detail)
        facts.closed_before(key, "correction-owed", first_since(said.attempts, later[0]))


def rests(facts: Facts, key: str, promise: Promise, since: datetime) -> None:
    """The promise is owed since then: what it rests on may be known to be false, or rest on what is."""
    for disclosure_id in promise.based_on:
        base = facts.recall(f"disclosure:{disclosure_id}", Said)
        if base is not None and base.false_since is not None:
            assert base.falsehood is not None
            _promise_contaminated(facts, key, promise, base.falsehood, base.false_since, since)


def _promise_contaminated(
    facts: Facts, key: str, promise: Promise, falsehood: str, known_since: datetime, owed_since: datetime
) -> None:
    """The promise rests on what is known to be false since then: a finding while it is owed."""
    if over(facts, promise):
        return
    detail = {"falsehood": falsehood}
    opens_at = max(known_since, owed_since)
    facts.open(key, "rests-on-falsehood", opens_at, customer_id=promise.customer_id, detail=detail, earliest=True)
    if promise.made_at > known_since:
        facts.open(key, "repeated-falsehood", owed_since, customer_id=promise.customer_id, detail=detail)
    if promise.standing == "ended":  # later, though that was recorded first
        facts.close(key, "rests-on-falsehood", "repeated-falsehood", at=promise.ended_at)


def over(facts: Facts, promise: Promise) -> bool:
    """Whether the promise had ended when this happened; its end may be on record already and come later."""
    return promise.standing == "ended" and (promise.ended_at is None or promise.ended_at <= facts.at)


def _corrected(facts: Facts, event: DisclosureCorrected) -> None:
    key = event.stream
    said = facts.recall(key, Said)
    assert said is not None
    if said.corrected_at is None or facts.at < said.corrected_at:
        facts.remember(key, said._replace(corrected_at=facts.at))
    facts.close(key, *_UNTIL_CORRECTED)


RULES: Rules = {DisclosureFalsified: _falsified, DisclosureCorrected: _corrected}
