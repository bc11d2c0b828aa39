"""docs/threat-model.md names tests, commands and tables that there are, and no table of the log is missing."""

import ast
import re
from pathlib import Path

import pytest

from deploy import cli
from tests.contracts.proofs import ROOT

PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
SCHEMA = (ROOT / "ledger/storage/schema.sql").read_text(encoding="utf-8")
LINK = re.compile(r"\[([\w ]+)\]\(\.\./(tests/[\w/]+\.py)\)")
LINKS = sorted(set(LINK.findall(PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| can |", "| what |"))]


def functions_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", sorted({path for _, path in LINKS}))
def test_every_test_that_proves_a_row_exists(path: str) -> None:
    named = {f"test_{name.replace(' ', '_')}" for name, where in LINKS if where == path}
    assert named - functions_in(ROOT / path) == set()


def test_every_row_is_proven() -> None:
    assert len(ROWS) > 60
    assert [row for row in ROWS if not LINK.search(row)] == []
    assert [row for row in ROWS if row.count("](../tests/") != len(LINK.findall(row))] == [], (
        "a link that is not checked"
    )


def test_no_table_of_the_log_is_missing() -> None:
    tables = re.findall(r"CREATE TABLE ledger\.(\w+)", SCHEMA)
    assert len(tables) >= 9
    assert [table for table in tables if f"`{table}`" not in PAGE] == []


def test_every_command_that_shows_something_exists() -> None:
    said = set(re.findall(r"`promise-ledger ([\w-]+)", PAGE))
    assert said <= set({*cli.COMMANDS, *cli.GROUPS})
