"""A past in which every event occurs, and every finding opens and closes: what projections are made of, all at once.

Most of it is told at random, some of it late. What chance has no words for stands in a list.
"""

import random
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ledger.app import Submission
from ledger.domain.dispatch import COMMANDS
from ledger.domain.model import Command
from ledger.domain.policies import Times
from ledger.settings import MAX_BATCH
from projections.findings.facts import DEFAULT_HOURS
from tests.projections.findings.test_any_arrival import delayed, history, reopening
from tests.projections.test_troubles import told_at_random
from tests.projections.world import World, at, story

DAY = 24
AFTERWARDS = 400 * DAY
"""When all of it was recorded, but for what `told_at_random` tells hour by hour."""
SEEDS = 75
_IDS = re.compile(r'"([A-Z]-[0-9-]+)"')


def tell_everything(world: World) -> None:
    """All of it is recorded and applied."""
    assert world.tell("policy.publish", 0, **_POLICY) == "recorded"
    told_at_random(world, 5, 240)
    world.now = at(AFTERWARDS)
    listed = [world.submission(kind, at(hours), **data) for hours, kind, data in LISTED]
    commands = [*_at_random(world), *_named(world, (each.command for each in listed), ".L")]
    for start in range(0, len(commands), MAX_BATCH):
        world.ledger.submit(commands[start : start + MAX_BATCH])
    world.catch_up()


def _at_random(world: World) -> Iterator[Submission]:
    """Histories side by side, each of customers of its own, of whom some are erased in the middle of theirs."""
    yield from _named(world, (each.command for each in story(world, 21, 150)), ".S")
    for seed in range(SEEDS):
        chance = random.Random(seed)
        told = [history, reopening, reopening][seed % 3](seed)
        late = delayed(told, chance) if seed % 4 else told
        half = len(late) // 2
        yield from _named(world, late[:half], f".{seed}")
        if seed % 5 == 0:
            yield world.submission("subject.erase", late[half].occurred_at, customer_id=f"C-1.{seed}", grounds="art-17")
        yield from _named(world, late[half:], f".{seed}")


def _named(world: World, commands: Iterable[Command], suffix: str) -> Iterator[Submission]:
    """The commands, with `suffix` after every id that they name."""
    for command in commands:
        canonical = _IDS.sub(rf'"\1{suffix}"', command.model_dump_json(by_alias=True, exclude_none=True)).encode()
        again = COMMANDS[command.TYPE].model_validate_json(canonical)
        yield Submission("crm", f"{suffix}-{next(world.ids)}", again, canonical)


def _promise(number: int, **changes: Any) -> dict[str, Any]:
    terms: dict[str, Any] = {
        "promise_id": f"P-{number}",
        "customer_id": "C-A",
        "kind": "answer",
        "text": "We find out.",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "due_at": at(20 * DAY),
    }
    return {name: member for name, member in (terms | changes).items() if member is not None}


def _disclosure(number: int, **changes: Any) -> dict[str, Any]:
    said = {"text": "So it is.", "owner": "u-1", "apology": False, "channel": "phone", "basis": "known"}
    return {"disclosure_id": f"D-{number}", "customer_id": "C-A", "about": {"problem_id": "X-A"}, **said, **changes}


def _problem(name: str, **changes: Any) -> dict[str, Any]:
    members: dict[str, Any] = {"known_since": at(0), "detected_by": "us", "summary": "It leaks.", "severity": 1}
    return {"problem_id": f"X-{name}", "affected": ["C-A", "C-B"], "owner": "u-1", **members, **changes}


def _correction(number: int, corrects: int, **changes: Any) -> dict[str, Any]:
    members = _disclosure(number, corrects=f"D-{corrects}", solution_ref="S-1", **changes)
    return {name: member for name, member in members.items() if name != "about"}


def _withheld(number: int, review: float, **changes: Any) -> dict[str, Any]:
    about = {"disclosure_id": f"W-{number}", "problem_id": "X-A", "customer_id": "C-A", "why": "Not yet."}
    return {**about, "approver": "u-9", "review_at": at(review), **changes}


_CALENDAR = {
    "calendar_id": "office",
    "time_zone": "Europe/Berlin",
    "hours": [f"{day} 09:00-17:00" for day in ("mon", "tue", "wed", "thu", "fri")],
    "covers_until": "2027-12-31",
}
_POLICY = {
    "policy_id": "default",
    "approver": "u-2",
    "times": {name: DEFAULT_HOURS[name] + 1 for name in Times.model_fields},
    "warn_percents": [50, 80],
    "escalation": [{"after_hours": 1, "to": "u-3"}, {"after_hours": 9, "to": "u-4"}],
    "calendars": [_CALENDAR],
    "tzdata_version": "2025b",
}
_HOLD = {"hold_id": "H-1", "customer_id": "C-B", "grounds": "suit", "approver": "u-9"}
_NOTE = {"outage_id": "O-A", "capture_id": "N-1"}
_GOODWILL = {"goodwill_id": "G-A", "customer_id": "C-A"}
_KEYS = {"old_vkey": "old", "new_vkey": "new"}
_RECOVERED = {"kind": "guard", "grounds": "g-1", "kept_size": 9, "restored": 0, "texts_lost": 0, "signed_size": 9}
_ERASED = {"customer_id": "C-B", "through_leaf": 9, "keys": 1, "texts": 2, "letters": 0}
LISTED: list[tuple[float, str, dict[str, Any]]] = [
    # promises can be overpromised from here on
    (0, "offering.publish", {"offering_id": "G-1", "lead_time": "P9D", "valid_from": at(-99)}),
    # a grave problem, withheld, told in writing for another reason than its cause, and corrected
    (1, "problem.detect", _problem("A")),
    (2, "disclosure.withhold", _withheld(1, 40, actor="u-2", approver="u-1")),
    (60, "disclosure.withhold", _withheld(2, 90)),
    (70, "disclosure.make", _disclosure(1, channel="email", reason_class="frost")),
    (72, "disclosure.acknowledge", {"disclosure_id": "D-1"}),
    (
        75,
        "problem.record_cause",
        {"problem_id": "X-A", "cause_class": "seal", "control": "within", "basis": "verified"},
    ),
    (80, "disclosure.correct", _correction(2, 1, reason_class="seal")),
    (85, "disclosure.make", _disclosure(3, customer_id="C-B", apology=True)),
    # resolved, failed, apologised for, resolved again, and closed by silence until the customers say that it works
    (90, "problem.resolve", {"problem_id": "X-A", "root_cause_addressed": True}),
    (95, "problem.verify", {"problem_id": "X-A", "customer_id": "C-A", "works": False}),
    (100, "problem.resolve", {"problem_id": "X-A", "root_cause_addressed": True}),
    (200, "apology.make", {"apology_id": "A-1", "customer_id": "C-A", "for": {"problem_id": "X-A"}}),
    (
        210,
        "apology.make",
        {"apology_id": "A-2", "customer_id": "C-A", "for": {"problem_id": "X-A"}, "next_step": "We ask."},
    ),
    (300, "problem.verify", {"problem_id": "X-A", "customer_id": "C-A", "works": True}),
    # its root cause comes back, until that is addressed
    (311, "problem.detect", _problem("B", known_since=at(310), severity=3)),
    (
        312,
        "problem.record_cause",
        {"problem_id": "X-B", "cause_class": "seal", "control": "within", "basis": "assumed"},
    ),
    (312, "concern.raise", {"concern_id": "Q-B", "customer_id": "C-A", "text": "Again?", "problem_id": "X-B"}),
    (313, "problem.plan", {"problem_id": "X-B", "steps": [_promise(12)], "addresses": ["Q-B"]}),
    (313, "concern.acknowledge", {"concern_id": "Q-B", "restated": "You ask whether it comes back."}),
    (313, "concern.address", {"concern_id": "Q-B", "how": "Another seal.", "by": "u-1"}),
    (313, "problem.plan", {"problem_id": "X-B", "steps": [_promise(9)], "addresses": ["root_cause"]}),
    (314, "disclosure.make", _disclosure(4, about={"problem_id": "X-B"})),
    (315, "disclosure.make", _disclosure(5, customer_id="C-B", about={"problem_id": "X-B"})),
    (316, "problem.resolve", {"problem_id": "X-B", "root_cause_addressed": True}),
    # promises: unowned, overpromised, superseded, in business time, announced, told late of
    (1, "promise.make", _promise(1, owner="C-A")),
    (2, "promise.reassign", {"promise_id": "P-1", "owner": "u-5"}),
    (3, "promise.accept", {"promise_id": "P-1", "owner": "u-5"}),
    (4, "promise.make", _promise(2, offering_id="G-1", due_at=at(48))),
    (5, "promise.claim_kept", {"promise_id": "P-2"}),
    (6, "disclosure.make", _disclosure(6, about={"promise_id": "P-1"}, owner="C-A", outage_id="O-Z")),
    (7, "disclosure.correct", _correction(7, 6)),
    (8, "promise.supersede", {"promise_id": "P-1", "disclosure_id": "D-6", "promise": _promise(3)}),
    (9, "promise.make", _promise(4, due_at=None, due_in="P3D", calendar_id="office")),
    (30, "promise.suspend", {"promise_id": "P-4", "reason": "They are away.", "review_at": at(99)}),
    (90, "promise.resume", {"promise_id": "P-4"}),
    (10, "promise.make", _promise(5, due_at=at(700 * DAY))),
    (350 * DAY + 5, "promise.announce_warning", {"promise_id": "P-5", "due_at": at(700 * DAY), "percent": 50}),
    (20 * DAY, "promise.announce_deadline", {"promise_id": "P-3", "due_at": at(20 * DAY)}),
    (21 * DAY, "promise.acknowledge_overdue", {"promise_id": "P-3"}),
    (11, "promise.make", _promise(6, condition={"text": "If it rains.", "by": at(50)})),
    (50, "promise.expire_condition", {"promise_id": "P-6", "condition_by": at(50)}),
    (49, "promise.meet_condition", {"promise_id": "P-6"}),
    (12, "promise.make", _promise(7, condition={"text": "If it rains.", "by": at(50)})),
    (30 * DAY, "promise.release", {"promise_id": "P-7", "evidence": "letter-1"}),
    (12, "promise.make", _promise(11, offering_id="G-1", due_at=at(50))),
    (13, "disclosure.make", _disclosure(11, about={"promise_id": "P-11"}, outage_id="O-B")),
    (14, "promise.reschedule", {"promise_id": "P-11", "new_due_at": at(11 * DAY), "disclosure_id": "D-11"}),
    (15, "promise.reschedule", {"promise_id": "P-11", "new_due_at": at(60), "disclosure_id": "D-11"}),
    # a falsehood repeated after it was known, and corrected
    (24, "disclosure.make", _disclosure(8, about={"promise_id": "P-2"})),
    (25, "disclosure.falsify", {"disclosure_id": "D-8", "known_since": at(24), "why": "It was not so."}),
    (26, "disclosure.make", _disclosure(9, about={"promise_id": "P-2"}, based_on=["D-8"])),
    (27, "disclosure.correct", _correction(10, 9)),
    (28, "promise.make", _promise(10, based_on=["D-8"])),
    (29, "promise.break", {"promise_id": "P-10", "reason_code": "stock", "text": "None left."}),
    # an outage with its note, and what else is said and done
    (0, "outage.declare", {"outage_id": "O-A", "tool": "crm"}),
    (40, "outage.declare", {"outage_id": "O-B", "tool": "phones"}),
    (5, "note.take", {**_NOTE, "customer_id": "C-A", "captured_at": at(4), "text": "They call.", "read_back": False}),
    (20, "outage.end", {"outage_id": "O-A"}),
    (50, "note.clear", {**_NOTE, "by": ["P-1"]}),
    (60, "note.followed_up", _NOTE),
    (13, "concern.raise", {"concern_id": "Q-A", "customer_id": "C-A", "text": "Why?"}),
    (14, "concern.admit_unknown", {"concern_id": "Q-A", "promise": _promise(8)}),
    (15, "question.ask", {"question_id": "Q-1", "customer_id": "C-A", "text": "Since when?", "concern_id": "Q-A"}),
    (16, "question.answer", {"question_id": "Q-1", "text": "Since Monday."}),
    (17, "contact.record", {"contact_id": "K-A", "customer_id": "C-A", "channel": "phone", "outcome": "ok"}),
    (18, "survey.send", {"contact_id": "K-A", "question": "Would you hire us?"}),
    (19, "survey.answer", {"contact_id": "K-A", "answer": "yes"}),
    (20, "remark.add", {"remark_id": "R-1", "customer_id": "C-A", "text": "Patient."}),
    (21, "exposure.note", {"exposure_id": "E-1", "customer_id": "C-A", "url": "https://example.org/1"}),
    (22, "goodwill.grant", {**_GOODWILL, "amount": 5, "currency": "EUR", "authority_limit": 9}),
    (23, "need.decline", {"need_id": "N-A", "customer_id": "C-A", "why": "We do not.", "refer_to": "Others Ltd"}),
    (200 * DAY, "contact.record", {"contact_id": "K-B", "customer_id": "C-A", "channel": "phone", "outcome": "ok"}),
    (201 * DAY, "customer.lost", {"customer_id": "C-A", "attributed_to": "price"}),
    (202 * DAY, "customer.returned", {"customer_id": "C-A"}),
    # an erasure that a hold defers, and what happens to the log itself
    (300 * DAY, "hold.place", _HOLD),
    (301 * DAY, "subject.erase", {"customer_id": "C-B", "grounds": "art-17"}),
    (302 * DAY, "hold.lift", _HOLD),
    (303 * DAY, "subject.complete_erasure", _ERASED),
    (304 * DAY, "keys.rewrap", {"kek": "0f3a"}),
    (305 * DAY, "log.rotate_key", _KEYS),
    (306 * DAY, "log.recover", {**_RECOVERED, "signed_root": "AAAA"}),
]
