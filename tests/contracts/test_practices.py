"""docs/practices.md is true and complete: what a row names exists, and the tests that it links to show it."""

import re
from typing import NamedTuple

import pytest

from deploy import cli
from ledger.deciding import RULES
from ledger.domain.dispatch import CHECKS, COMMANDS
from projections.findings.registry import FINDINGS
from tests.contracts.proofs import ROOT, Shown, shown_in

PAGE = (ROOT / "docs/practices.md").read_text(encoding="utf-8")
SQL = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "projections").rglob("*.sql")))


class Row(NamedTuple):
    """One row of the page; those of its last table have codes and tests alone."""

    says: str
    commands: list[str]
    codes: list[str]
    findings: list[str]
    seen: list[str]
    shown: list[Shown]


def rows() -> list[Row]:
    found = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0] not in ("practice", "---"):
            found.append(Row(cells[0], *map(ticked, cells[1:5]), linked(cells[5])))
        elif len(cells) == 3 and cells[0] not in ("refused as", "---"):
            found.append(Row(cells[1], [], ticked(cells[0]), [], [], linked(cells[2])))
    return found


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def linked(cell: str) -> list[Shown]:
    """What each linked test shows. Its name stands in the link's text, with spaces."""
    links = re.findall(r"\[([\w ]+)\]\(\.\./(tests/[\w/]+\.py)\)", cell)
    assert links, f"no test: {cell}"
    return [shown_in(ROOT / path)[f"test_{name.replace(' ', '_')}"] for name, path in links]


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=[row.says[:40] for row in ROWS])
def test_the_tests_of_a_row_show_what_it_says(row: Row) -> None:
    recorded = {name for shown in row.shown for name in shown.records}
    assert [each for each in row.commands if COMMANDS[each].__name__ not in recorded] == []
    refused = {code for shown in row.shown for code in shown.refuses}
    assert [code for code in row.codes if code not in refused] == []
    opened = {code for shown in row.shown for code, kind in shown.findings if kind == "opens"}
    assert [code for code in row.findings if code not in opened] == []


def test_every_command_refusal_and_finding_has_its_row() -> None:
    recorded = {each for row in ROWS for each in row.commands}
    assert {name for name, command in COMMANDS.items() if not command.INTERNAL} <= recorded
    assert [name for name in CHECKS if f"`{name}`" not in PAGE] == []
    assert {code for row in ROWS for code in row.codes} == set(RULES)
    assert {code for row in ROWS for code in row.findings} == set(FINDINGS)


def test_it_is_seen_where_the_row_says() -> None:
    views = {f"audit.{name}" for name in re.findall(r"CREATE OR REPLACE (?:VIEW|FUNCTION) audit\.(\w+)", SQL)}
    said = {f"promise-ledger {name}" for name in {*cli.COMMANDS, *cli.GROUPS}}
    assert {place for row in ROWS for place in row.seen} <= views | said
    assert [row.says for row in ROWS if row.commands and not row.seen] == []
