"""Every code of a finding, how grave it is, and the rule in one sentence: what docs/findings.md and `schema` say."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Severity = Literal["high", "medium", "low"]


class Kind(NamedTuple):
    """One code. `high`: somebody was misled or left alone; `medium`: a word was not kept; `low`: look at it."""

    severity: Severity
    rule: str


FINDINGS: Final[Mapping[str, Kind]] = {
    # promises
    "overdue": Kind("medium", "A promise is past due and not claimed kept."),
    "no-warning": Kind("medium", "A promise is past due, and its customer was not warned before."),
    "kept-late": Kind("low", "A promise was claimed kept after its due time, the present or the original one."),
    "rescheduled-after-due": Kind("medium", "A due time was moved when it had passed already."),
    "overpromised": Kind(
        "medium",
        "A promise is due sooner than the offering's lead time, or than the 20th percentile of our own past deliveries "
        "of that kind, as known when it was made.",
    ),
    "claimed-not-verified": Kind("low", "We say that it is done, and the customer has not said so."),
    "closed-by-silence": Kind("medium", "What we say is done was not verified in the time that the policy allows."),
    "handover-unaccepted": Kind(
        "medium", "What was handed over, or promised for another team, was not accepted in the policy's time."
    ),
    # truth
    "divergent-reason": Kind("high", "What the customer was told as the reason differs from the recorded cause."),
    "rests-on-falsehood": Kind(
        "high",
        "A disclosure or promise rests on a falsified disclosure, directly or through others, or on a refuted "
        "assumption.",
    ),
    "repeated-falsehood": Kind("high", "A disclosure or promise was made on a falsehood after that was known false."),
    "correction-owed": Kind("high", "A person was told a falsehood and has not been told what is so."),
    "assumption-open": Kind(
        "low", "What was promised or told on an assumption was neither confirmed nor refuted in the policy's time."
    ),
    "false-outage-claim": Kind("high", "An outage was given as the reason, and none was declared at that time."),
    # telling
    "undisclosed-problem": Kind(
        "high", "An affected customer was not told of a known problem in the policy's time, nor is it withheld."
    ),
    "discovered-by-customer": Kind("high", "A customer found a problem that we knew of and had not told them."),
    "disclosure-without-way-forward": Kind("medium", "A disclosure has neither a solution nor a dated next step."),
    "unowned": Kind("medium", "Nobody on our side answers for it: the owner is the customer."),
    "written-only-severe": Kind(
        "medium", "A problem or concern of severity 1 or 2 was handled only by e-mail, letter, voicemail or post."
    ),
    "withheld-past-review": Kind("high", "A withholding was not looked at again by its review."),
    "withheld-self-approved": Kind("high", "A withholding was approved by who asked for it, or who owns the problem."),
    # amends
    "unapologised": Kind("medium", "A broken promise or failed resolution found no apology in the policy's time."),
    "apology-without-step": Kind("low", "An apology came without a next step."),
    # concerns and problems
    "concern-unacknowledged": Kind("medium", "A concern was not acknowledged in the policy's time."),
    "concern-unaddressed": Kind("medium", "A concern was not addressed in the policy's time."),
    "solution-before-listening": Kind("low", "A concern was addressed before it was acknowledged."),
    "resolution-failed": Kind("high", "A resolution does not work for a customer."),
    "recurrence": Kind("high", "A root cause that was said to be fixed came back."),
    # outages
    "outage-list-open": Kind("medium", "The list of an outage was not done in the policy's time after its end."),
    "note-not-read-back": Kind("low", "A note was not read back, and its customer was not gone back to."),
    # customers
    "silent-customer": Kind("medium", "Something is owed to a customer, and nothing was said to them for long."),
    "neglected-customer": Kind("low", "Of a customer nothing was heard or asked for very long."),
}


def document() -> dict[str, dict[str, str]]:
    """{code: {"severity", "rule"}}: the findings of the message contract."""
    return {code: kind._asdict() for code, kind in FINDINGS.items()}
