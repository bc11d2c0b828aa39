"""docs/findings.md says what the registry says, and every code of the registry can be opened."""

import re
from pathlib import Path

from consumers.contract import json_schemas
from projections.findings.facts import DEFAULT_HOURS
from projections.findings.pace import ENOUGH, WINDOW
from projections.findings.registry import FINDINGS, document
from tests.contracts.proofs import KINDS, shown_in

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
RULES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "projections" / "findings").glob("*.py")))


def test_the_page_lists_every_code_with_its_severity_and_rule() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| ([^|]+) \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert rows == [(code, kind.severity, kind.rule) for code, kind in FINDINGS.items()]


def test_the_page_names_the_hours_before_any_policy_and_what_counts_as_our_pace() -> None:
    words = " ".join(PAGE.split())
    assert ", ".join(f"{name} {hours}" for name, hours in DEFAULT_HOURS.items()) in words
    assert f"our own last {WINDOW} deliveries" in words
    assert f"{ENOUGH} at least" in words


def test_the_contract_has_every_code() -> None:
    found = json_schemas(findings=document())["findings"]
    assert set(found) == set(FINDINGS)
    assert found["overdue"] == {"severity": "medium", "rule": "A promise is past due and not claimed kept."}


def test_every_code_has_tests_in_which_it_opens_closes_and_does_not_open() -> None:
    tests = [shown for path in Path(__file__).parent.glob("test_*.py") for shown in shown_in(path).values()]
    found = {kind: {code for shown in tests for code, each in shown.findings if each == kind} for kind in KINDS}
    for_good = set(re.findall(r"^\| `([a-z-]+)` \|.*\| never \|$", PAGE, re.MULTILINE))
    assert for_good == {"rescheduled-after-due", "discovered-by-customer"}
    assert found == {"opens": set(FINDINGS), "closes": set(FINDINGS) - for_good, "spares": set(FINDINGS)}


def test_every_code_is_opened_by_some_rule() -> None:
    assert [code for code in FINDINGS if RULES.count(f'"{code}"') < 2] == []
