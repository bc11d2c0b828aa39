"""The demo story: a stove that did not come, and what was said about it, as the commands that backend services sent.

A chapter is a day. Every line is (hour of that day in UTC, source, command type, data); what comes from the notepad was
written down while the ticket system was away. The story is fixed once it was told: a second `up --demo` in the same
directory sends the same commands again and gets the first receipts.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

CUSTOMER: Final = "C-1042"
CUSTOMERS: Final = (CUSTOMER, "C-2077", "C-3105")
FALSEHOOD: Final = "D-1"
NOTEPAD: Final = "notepad"
_CASE: Final = "case-77"


class At(NamedTuple):
    """A moment: so many days before the story is first told, at that hour."""

    days: int
    hour: float


_Line = tuple[float, str, str, dict[str, Any]]
_CHAPTERS: Final[tuple[tuple[int, str, tuple[_Line, ...]], ...]] = (
    (9, "A promise, sooner than we can keep it", (
        (9, "orders", "offering.publish", {
            "actor": "u-ines", "offering_id": "O-stove", "lead_time": "P7D", "valid_from": At(30, 0),
        }),
        (10, "crm", "promise.make", {
            "actor": "u-jonas", "promise_id": "P-stove", "customer_id": CUSTOMER, "kind": "deliver", "owner": "u-jonas",
            "text": "Your new stove stands in your kitchen five days from now at noon, connected.", "due_at": At(4, 12),
            "channel": "phone", "basis": "known", "offering_id": "O-stove",
        }),
        (10, "crm", "promise.read_back", {"actor": "u-jonas", "promise_id": "P-stove", "confirmed": True}),
    )),
    (5, "Dispatch knows, and tells nobody", (
        (15, "orders", "problem.detect", {
            "actor": "u-ines", "problem_id": "X-van", "known_since": At(5, 15), "detected_by": "us", "severity": 2,
            "affected": list(CUSTOMERS), "promises": ["P-stove"], "owner": "u-ines",
            "summary": "The van of tomorrow's round is missing; three customers wait for it.",
        }),
    )),
    (4, "Nobody comes, and a reason is made up", (
        (16, "tickets", "problem.reported", {
            "actor": CUSTOMER, "customer_id": CUSTOMER, "problem_id": "X-van",
            "text": "I took the day off and nobody came. Nobody called either.",
        }),
        (16, "tickets", "concern.raise", {
            "actor": "u-priya", "concern_id": "Q-1", "customer_id": CUSTOMER, "severity": 2, "problem_id": "X-van",
            "text": "Who pays for the day that I sat here waiting?",
        }),
        (16.25, "tickets", "concern.acknowledge", {
            "actor": "u-priya", "concern_id": "Q-1",
            "restated": "You took unpaid leave for us, and we let you wait without a word.",
        }),
        (16.25, "tickets", "disclosure.make", {
            "actor": "u-priya", "disclosure_id": FALSEHOOD, "customer_id": CUSTOMER, "about": {"problem_id": "X-van"},
            "text": "I am sorry. I believe the van was stuck in the storm; I will check and call you tomorrow.",
            "reason_class": "weather", "control": "beyond", "owner": "u-priya", "apology": True, "channel": "phone",
            "basis": "assumed", "next_update_at": At(3, 12),
        }),
        (16.5, "tickets", "concern.admit_unknown", {
            "actor": "u-priya", "concern_id": "Q-1", "promise": {
                "promise_id": "P-answer", "customer_id": CUSTOMER, "kind": "answer", "owner": "u-priya",
                "text": "I do not know who pays for your day, but I will find out and tell you tomorrow.",
                "due_at": At(3, 18), "channel": "phone", "basis": "known",
            },
        }),
        (17, "tickets", "disclosure.make", {
            "actor": "u-tom", "disclosure_id": "D-2", "customer_id": "C-2077", "about": {"problem_id": "X-van"},
            "text": "The storm held up our van, my colleague says.", "reason_class": "weather", "control": "beyond",
            "owner": "u-tom", "apology": False, "channel": "chat", "basis": "assumed", "based_on": [FALSEHOOD],
        }),
        (18, "orders", "promise.reschedule", {
            "actor": "u-jonas", "promise_id": "P-stove", "new_due_at": At(2, 12), "disclosure_id": "D-none",
        }),
    )),
    (3, "It was not the storm", (
        (9, "orders", "problem.record_cause", {
            "actor": "u-ines", "problem_id": "X-van", "cause_class": "planning", "control": "within",
            "cause": "We had given one van to two rounds at the same hour.", "evidence": "plan-0312",
            "basis": "verified",
        }),
        (9.5, "orders", "disclosure.falsify", {
            "actor": "u-ines", "disclosure_id": FALSEHOOD, "known_since": At(3, 9),
            "why": "There was a storm, but the van never left the yard.",
        }),
        (10, "crm", "disclosure.make", {
            "actor": "u-tom", "disclosure_id": "D-3", "customer_id": "C-3105", "about": {"problem_id": "X-van"},
            "text": "Unfortunately the storm kept our van from you. We ask for your understanding.",
            "reason_class": "weather", "control": "beyond", "owner": "u-tom", "apology": False, "channel": "letter",
            "basis": "assumed", "based_on": ["D-2"],
        }),
        (11, "tickets", "disclosure.correct", {
            "actor": "u-priya", "disclosure_id": "D-4", "corrects": FALSEHOOD, "customer_id": CUSTOMER,
            "text": "I checked: it was not the storm. We had booked the van twice. It is our mistake, and I am sorry.",
            "reason_class": "planning", "control": "within", "owner": "u-priya", "apology": True, "channel": "phone",
            "basis": "known", "next_step": "The stove comes tomorrow before noon, and two of us carry it.",
        }),
        (11, "tickets", "promise.claim_kept", {
            "actor": "u-priya", "promise_id": "D-1:next-update", "evidence": "the call of 11:00, D-4",
        }),
        (11.5, "orders", "promise.reschedule", {
            "actor": "u-jonas", "promise_id": "P-stove", "new_due_at": At(2, 12), "disclosure_id": "D-4",
        }),
        (12, "tickets", "disclosure.correct", {
            "actor": "u-tom", "disclosure_id": "D-5", "corrects": "D-2", "customer_id": "C-2077",
            "text": "What I wrote about the storm was wrong: we had booked the van twice. I am sorry.",
            "reason_class": "planning", "control": "within", "owner": "u-tom", "apology": True, "channel": "phone",
            "basis": "known", "based_on": ["D-4"], "solution_ref": "round-0313",
        }),
        (14, "tickets", "problem.plan", {
            "actor": "u-ines", "problem_id": "X-van", "addresses": ["root_cause", "Q-1"], "steps": [
                {
                    "promise_id": "P-plan", "customer_id": CUSTOMER, "kind": "fix", "owner": "u-ines",
                    "text": "From tomorrow the plan refuses a van that is taken.", "due_at": At(1, 12),
                    "channel": "phone", "basis": "known",
                },
                {
                    "promise_id": "P-refund", "customer_id": CUSTOMER, "kind": "refund", "owner": "u-lena",
                    "text": "We pay your lost day, 120 euros, by tomorrow evening.", "due_at": At(1, 18),
                    "channel": "phone", "basis": "known",
                },
            ],
        }),
        (14.25, "crm", "goodwill.grant", {
            "actor": "u-priya", "goodwill_id": "G-1", "customer_id": CUSTOMER, "amount": 12000, "currency": "EUR",
            "authority_limit": 5000, "approver": "u-ines",
        }),
        (14.5, "tickets", "concern.address", {
            "actor": "u-priya", "concern_id": "Q-1", "how": "We pay for your day; Lena sends it tomorrow.",
            "by": "P-refund",
        }),
        (14.5, "tickets", "promise.claim_kept", {
            "actor": "u-priya", "promise_id": "P-answer", "evidence": "the call of 14:30",
        }),
        (14.5, "tickets", "promise.verify", {
            "actor": CUSTOMER, "promise_id": "P-answer", "verified_by": CUSTOMER,
        }),
    )),
    (2, "The stove comes, the tickets go down, the notepad stays", (
        (11, "orders", "promise.claim_kept", {
            "actor": "u-jonas", "promise_id": "P-stove", "evidence": "delivery note 5581, signed",
        }),
        (12, "orders", "promise.verify", {"actor": "u-jonas", "promise_id": "P-stove", "verified_by": "u-jonas"}),
        (14, NOTEPAD, "outage.declare", {"actor": "u-priya", "outage_id": "O-7", "tool": "tickets"}),
        (14.25, NOTEPAD, "note.take", {
            "actor": "u-priya", "outage_id": "O-7", "capture_id": "note-1", "captured_at": At(2, 14.25),
            "customer_id": CUSTOMER, "text": "It stands in the kitchen, but the oven door does not close.",
            "read_back": True,
        }),
        (16, "tickets", "outage.end", {"actor": "u-priya", "outage_id": "O-7"}),
        (16.25, "tickets", "promise.dispute", {
            "actor": CUSTOMER, "promise_id": "P-stove", "text": "The oven door does not close: that is no stove yet.",
        }),
        (16.5, "tickets", "promise.make", {
            "actor": "u-priya", "promise_id": "P-door", "customer_id": CUSTOMER, "kind": "fix", "owner": "u-amir",
            "text": "Amir brings a new door and fits it; it takes half an hour.", "due_at": At(-2, 18),
            "channel": "phone", "basis": "known", "based_on": ["D-4"],
        }),
        (16.5, "tickets", "note.clear", {
            "actor": "u-priya", "outage_id": "O-7", "capture_id": "note-1", "by": ["P-door"],
        }),
        (16.75, "tickets", "note.followed_up", {"actor": "u-priya", "outage_id": "O-7", "capture_id": "note-1"}),
    )),
    (1, "Mended, confirmed, asked once", (
        (9, "crm", "promise.claim_kept", {"actor": "u-lena", "promise_id": "P-refund", "evidence": "transfer 20-4471"}),
        (10, "orders", "promise.claim_kept", {
            "actor": "u-ines", "promise_id": "P-plan", "evidence": "release 118 of the plan",
        }),
        (10.5, "orders", "problem.resolve", {
            "actor": "u-ines", "problem_id": "X-van", "root_cause_addressed": True,
            "text": "The plan refuses a van that is taken; we tried it with yours.",
        }),
        (14, "tickets", "promise.verify", {"actor": "u-priya", "promise_id": "P-refund", "verified_by": CUSTOMER}),
        (14, "tickets", "promise.verify", {"actor": "u-amir", "promise_id": "P-plan", "verified_by": "u-amir"}),
        (14, "tickets", "problem.verify", {
            "actor": "u-priya", "problem_id": "X-van", "customer_id": CUSTOMER, "works": True,
        }),
        (14, "tickets", "followup.schedule", {
            "actor": "u-priya", "followup_id": "F-1", "customer_id": CUSTOMER, "about": {"promise_id": "P-door"},
            "due_at": At(-3, 10), "owner": "u-priya",
        }),
        (14, "crm", "need.decline", {
            "actor": "u-priya", "need_id": "N-1", "customer_id": CUSTOMER,
            "why": "You asked for a narrow stove for your mother: we have none that is good.",
            "refer_to": "Herd & Heim on the market square: they compete with us, and theirs is the right one.",
        }),
        (14.25, "crm", "contact.record", {
            "actor": "u-priya", "contact_id": "K-1", "customer_id": CUSTOMER, "channel": "phone",
            "outcome": "resolved",
        }),
        (15, "crm", "survey.send", {
            "actor": "u-priya", "contact_id": "K-1", "question": "Would you hire the person you spoke with?",
        }),
        (16, "crm", "survey.send", {
            "actor": "u-tom", "contact_id": "K-1", "question": "And how do you like our new web shop?",
        }),
        (18, "crm", "survey.answer", {
            "actor": CUSTOMER, "contact_id": "K-1", "answer": "yes", "text": "Yes. In the end she told me the truth.",
        }),
    )),
)  # fmt: skip

ASKED: Final[Mapping[str, Any]] = {
    "actor": "u-tom", "disclosure_id": "D-9", "customer_id": CUSTOMER, "about": {"problem_id": "X-van"},
    "text": "It was the storm, as we said.", "reason_class": "weather", "control": "beyond", "owner": "u-tom",
    "apology": False, "channel": "letter", "basis": "assumed", "based_on": (FALSEHOOD,),
}  # fmt: skip
"""What u-tom would like to say again, and better asks about before."""


def _id(chapter: int, number: int) -> str:
    return f"stove-{chapter}.{number}"


TITLES: Final[Mapping[str, str]] = {_id(chapter, 1): title for chapter, (_, title, _) in enumerate(_CHAPTERS, 1)}
"""The title of each chapter, by the id of its first command."""


def commands(told_at: datetime) -> Iterator[dict[str, Any]]:
    """The story's CloudEvents as if it had ended on the day before `told_at`."""
    midnight = told_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for chapter, (days, _, lines) in enumerate(_CHAPTERS, 1):
        for number, (hour, source, kind, data) in enumerate(lines, 1):
            yield {
                "specversion": "1.0",
                "id": _id(chapter, number),
                "source": source,
                "type": kind,
                "time": _spelled(At(days, hour), midnight),
                "data": _spelled(data, midnight) | {"case_id": _CASE},
            }


def _spelled(value: Any, midnight: datetime) -> Any:
    """`value` with its moments as messages spell them."""
    match value:
        case At(days, hour):
            return (midnight - timedelta(days=days) + timedelta(hours=hour)).isoformat()
        case dict():
            return {name: _spelled(each, midnight) for name, each in value.items()}
        case list():
            return [_spelled(each, midnight) for each in value]
    return value
