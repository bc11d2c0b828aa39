"""Names are frozen or documented: topics, refusal codes, personal members."""

import re
from pathlib import Path

from ledger import deciding
from ledger.domain.dispatch import COMMANDS, EVENTS, FAMILIES, RULES
from ledger.domain.model import is_personal

ROOT = Path(__file__).parents[2]


def test_every_topic_is_listed_for_ever() -> None:
    assert sorted(EVENTS) == (ROOT / "tests" / "golden" / "topics.txt").read_text().split()


def test_the_commands_of_this_step_are_all_here() -> None:
    from_the_domain = {
        "promise": "make read_back accept reassign meet_condition warn reschedule suspend resume claim_kept verify "
        "dispute break release supersede acknowledge_overdue announce_warning announce_deadline expire_condition",
        "problem": "detect affect record_cause plan take_ownership resolve verify reported",
        "disclosure": "make correct withhold falsify acknowledge",
        "concern": "raise acknowledge address withdraw confirm admit_unknown",
        "followup": "schedule attempt complete",
        "contact": "record",
        "survey": "send answer",
        "outage": "declare end",
        "note": "take clear followed_up",
        "apology": "make",
        "goodwill": "grant",
        "offering": "publish",
        "need": "decline",
        "question": "ask answer",
        "assumption": "confirm refute",
        "remark": "add",
        "exposure": "note",
        "customer": "lost returned",
        "policy": "publish",
        "hold": "place lift",
        "subject": "erase complete_erasure",
        "keys": "rewrap",
        "log": "recover rotate_key",
    }
    assert set(COMMANDS) == {f"{family}.{name}" for family, names in from_the_domain.items() for name in names.split()}
    internal = {name for name, command in COMMANDS.items() if command.INTERNAL}
    assert internal == {
        "promise.announce_warning",
        "promise.announce_deadline",
        "promise.expire_condition",
        "subject.complete_erasure",
        "keys.rewrap",
        "log.recover",
        "log.rotate_key",
    }


def test_the_glossary_lists_every_refusal_code_with_its_rule() -> None:
    rows = [f"| `{code}` | {rule} |" for code, rule in sorted(deciding.RULES.items())]
    page = (ROOT / "docs" / "glossary.md").read_text()
    listed = [line for line in page.split("## Refusal codes")[1].splitlines() if line.startswith("| `")]
    assert listed == rows


def test_every_refusal_code_has_a_test() -> None:
    stories = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    called = set(re.findall(r'\.refused\(\s*"([a-z-]+)"', stories))
    assert set(RULES) <= called


def test_personal_is_exactly_what_the_domain_prints_in_italics() -> None:
    personal = {topic: event.PERSONAL for topic, event in EVENTS.items() if event.PERSONAL}
    assert personal == {
        "promise.made": ("text", "condition_text"),
        "promise.read_back": ("correction",),
        "promise.at_risk": ("reason",),
        "promise.suspended": ("reason",),
        "promise.claimed_kept": ("text",),
        "promise.disputed": ("text",),
        "promise.broken": ("text",),
        "problem.detected": ("summary",),
        "problem.cause_recorded": ("cause",),
        "problem.resolution_claimed": ("text",),
        "disclosure.made": ("text", "next_step"),
        "disclosure.correction_delivered": ("text", "next_step"),
        "disclosure.falsified": ("why",),
        "disclosure.withheld": ("why",),
        "concern.raised": ("text",),
        "concern.acknowledged": ("restated",),
        "concern.addressed": ("how",),
        "followup.completed": ("text",),
        "contact.recorded": ("text",),
        "survey.sent": ("question",),
        "survey.answered": ("text",),
        "note.taken": ("text",),
        "apology.made": ("next_step",),
        "need.declined": ("why",),
        "question.asked": ("text",),
        "question.answered": ("text",),
        "remark.added": ("text",),
        "exposure.noted": ("url",),
        "problem.reported": ("text",),
        "customer.lost": ("text",),
    }


def test_every_event_can_be_read_back_without_its_personal_members() -> None:
    for event in EVENTS.values():
        for name in event.PERSONAL:
            assert event.model_fields[name].default is None
    for command in COMMANDS.values():
        for name, field in command.model_fields.items():
            assert is_personal(field) or name not in ("text", "reason", "restated", "how", "correction", "next_step")


def test_a_family_is_a_module_that_dispatch_names_once() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES)
    for command in COMMANDS.values():
        assert command.model_config["extra"] == "forbid"
        assert command.model_config["frozen"]
        assert command.model_config["strict"]
    for event in EVENTS.values():
        assert event.model_config["frozen"]
