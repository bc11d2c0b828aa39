"""The demo story: a stove that came late and broken, told as the commands that three backend services sent.

Every line is (days before the story is first told, hour of day, source, command type, data). The story is fixed once
it was told: a second `up --demo` in the same directory sends the same commands again and gets the first receipts.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

CUSTOMER = "C-1042"
_MOMENTS = ("due_at", "new_due_at", "review_at", "next_update_at")

# A tuple (days, hour) inside `data` is a moment, counted the same way.
_LINES: tuple[tuple[float, int, str, str, dict[str, Any]], ...] = (
    (9, 10, "crm", "promise.make", {
        "actor": "u-jonas", "promise_id": "P-stove", "customer_id": CUSTOMER, "kind": "deliver", "owner": "u-jonas",
        "text": "Your new stove stands in your kitchen by Thursday noon, connected.", "due_at": (4, 12),
        "channel": "phone", "basis": "known", "case_id": "case-77",
    }),
    (4, 16, "tickets", "concern.raise", {
        "actor": "u-priya", "concern_id": "Q-1", "customer_id": CUSTOMER, "severity": 2, "case_id": "case-77",
        "text": "I took the day off and nobody came. Nobody called either.",
    }),
    (4, 17, "tickets", "disclosure.make", {
        "actor": "u-priya", "disclosure_id": "D-1", "customer_id": CUSTOMER, "about": {"concern_id": "Q-1"},
        "text": "I am sorry. I believe the van was stuck in the storm; I will check and come back to you tomorrow.",
        "reason_class": "weather", "control": "beyond", "owner": "u-priya", "apology": True, "channel": "phone",
        "basis": "assumed", "next_update_at": (3, 12), "case_id": "case-77",
    }),
    (4, 18, "tickets", "concern.acknowledge", {
        "actor": "u-priya", "concern_id": "Q-1", "case_id": "case-77",
        "restated": "You took unpaid leave for us, and we let you wait without a word.",
    }),
    (4, 18, "orders", "promise.reschedule", {
        "actor": "u-jonas", "promise_id": "P-stove", "new_due_at": (2, 12), "disclosure_id": "D-none",
    }),
    (3, 11, "tickets", "disclosure.make", {
        "actor": "u-priya", "disclosure_id": "D-2", "customer_id": CUSTOMER, "about": {"promise_id": "P-stove"},
        "text": "I checked: it was not the storm. We had booked the van twice. It is our mistake; the stove comes "
        "tomorrow before noon.",
        "reason_class": "planning", "control": "within", "owner": "u-priya", "apology": True, "channel": "phone",
        "basis": "known", "case_id": "case-77",
    }),
    (3, 11, "tickets", "promise.claim_kept", {
        "actor": "u-priya", "promise_id": "D-1:next-update", "evidence": "call of the same morning, D-2",
    }),
    (3, 12, "orders", "promise.reschedule", {
        "actor": "u-jonas", "promise_id": "P-stove", "new_due_at": (2, 12), "disclosure_id": "D-2",
    }),
    (2, 11, "orders", "promise.claim_kept", {
        "actor": "u-jonas", "promise_id": "P-stove", "evidence": "delivery note 5581, signed",
    }),
    (2, 12, "orders", "promise.verify", {
        "actor": "u-jonas", "promise_id": "P-stove", "verified_by": "u-jonas",
    }),
    (2, 15, "tickets", "promise.dispute", {
        "actor": CUSTOMER, "promise_id": "P-stove", "case_id": "case-77",
        "text": "It stands in the kitchen, but the oven door does not close.",
    }),
    (2, 16, "tickets", "promise.make", {
        "actor": "u-priya", "promise_id": "P-door", "customer_id": CUSTOMER, "kind": "fix", "owner": "u-amir",
        "text": "Amir brings a new door and fits it; it takes half an hour.", "due_at": (-2, 18), "channel": "phone",
        "basis": "known", "based_on": ["D-2"], "case_id": "case-77",
    }),
    (2, 16, "tickets", "promise.make", {
        "actor": "u-priya", "promise_id": "P-refund", "customer_id": CUSTOMER, "kind": "refund", "owner": "u-lena",
        "text": "We refund the delivery fee of 49 euros.", "due_at": (1, 18), "channel": "email", "basis": "known",
        "verification": "required", "case_id": "case-77",
    }),
    (1, 9, "crm", "promise.claim_kept", {
        "actor": "u-lena", "promise_id": "P-refund", "evidence": "transfer 20-4471",
    }),
    (1, 14, "crm", "promise.verify", {
        "actor": "u-priya", "promise_id": "P-refund", "verified_by": CUSTOMER,
    }),
    (1, 15, "tickets", "followup.schedule", {
        "actor": "u-priya", "followup_id": "F-1", "customer_id": CUSTOMER, "about": {"promise_id": "P-door"},
        "due_at": (-3, 10), "owner": "u-priya", "case_id": "case-77",
    }),
)  # fmt: skip


def commands(told_at: datetime) -> Iterator[dict[str, Any]]:
    """The story's CloudEvents as if it had ended on the day before `told_at`."""
    midnight = told_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for number, (days, hour, source, kind, data) in enumerate(_LINES, 1):
        spelled = {name: _moment(midnight, *value) if name in _MOMENTS else value for name, value in data.items()}
        yield {
            "specversion": "1.0",
            "id": f"story-{number}",
            "source": source,
            "type": kind,
            "time": _moment(midnight, days, hour),
            "data": spelled,
        }


def _moment(midnight: datetime, days_before: float, hour: int) -> str:
    return (midnight - timedelta(days=days_before) + timedelta(hours=hour)).isoformat()
