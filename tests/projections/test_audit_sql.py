"""docs/audit-sql.md: its examples run, and its tables say what the database says."""

import os
import re
from pathlib import Path

import pytest

from tests.projections.world import World, at, story

PAGE = Path(__file__).parents[2] / "docs" / "audit-sql.md"
QUESTIONS = PAGE.read_text(encoding="utf-8").partition("\n## Views\n")[0]
EXAMPLES = re.findall(r"^### (.+?)\n.*?^```sql\n(.*?)^```", QUESTIONS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def auditor(world: World) -> World:
    world.ledger.submit(story(world, 41, 120))
    world.make(1001, customer_id="C-1001", owner="u-4")
    world.make(1002, customer_id="C-1001", owner="u-4")
    problem = {"problem_id": "B-1", "known_since": at(0), "detected_by": "us", "severity": 2, "affected": ["C-1"]}
    assert world.tell("problem.detect", 1, **problem, summary="It leaks.", owner="u-1") == "recorded"
    assert world.tell("concern.raise", 1, concern_id="K-1", customer_id="C-1", text="Why?") == "recorded"
    assert world.tell("outage.declare", 1, outage_id="O-1", tool="crm") == "recorded"
    world.now = at(60)
    assert world.tell("promise.claim_kept", 50, promise_id="P-1002") == "recorded"
    world.catch_up()
    world.connection.execute("SET ROLE ledger_auditor")
    return world


def test_there_are_nine_examples_and_each_answers(auditor: World) -> None:
    assert len(EXAMPLES) == 9
    for title, query in EXAMPLES:
        assert auditor.ask(query), title


def test_every_view_and_column_is_described_as_in_the_database(auditor: World) -> None:
    """REWRITE_DOCS=1 writes that section anew, on purpose and to be read in review."""
    page = PAGE.read_text(encoding="utf-8")
    meant = page[: page.index("## Views")] + "## Views\n\n" + described(auditor) + "\n"
    if os.environ.get("REWRITE_DOCS"):
        PAGE.write_text(meant, encoding="utf-8")
    assert page == meant


def described(world: World) -> str:
    """The section of the page that says what there is: one heading a view, one row a column."""
    rows = world.ask(
        "SELECT c.relname AS view, obj_description(c.oid, 'pg_class') AS about, a.attname AS column, "
        "format_type(a.atttypid, NULL) AS type, col_description(c.oid, a.attnum) AS meaning "
        "FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v' ORDER BY c.relname, a.attnum"
    )
    lines: list[str] = []
    for row in rows:
        heading = f"### audit.{row['view']}"
        if heading not in lines:
            lines += ["", heading, row["about"], "", "| column | type | meaning |", "|---|---|---|"]
        type_ = row["type"].replace("timestamp with time zone", "timestamptz").replace("double precision", "float8")
        lines.append(f"| {row['column']} | {type_} | {row['meaning']} |")
    return "\n".join(lines[1:])
