"""The role ledger_auditor: reads the views, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.projections.world import World

VIEWS = {
    "affected_customers",
    "concern_history",
    "concern_matrix",
    "concerns",
    "corrections_owed",
    "customer_signals",
    "customer_timeline",
    "delivery_times",
    "disclosure_history",
    "disclosure_links",
    "disclosures",
    "finding_history",
    "findings",
    "followup_history",
    "followups",
    "followups_due",
    "outage_history",
    "outage_notes",
    "outages",
    "outstanding_promises",
    "problem_customers",
    "problem_detections",
    "problem_history",
    "problems",
    "promise_escalations",
    "promise_history",
    "promise_warnings",
    "promises",
    "texts",
    "undisclosed_problems",
}
FORBIDDEN = (
    b"SELECT * FROM ledger.events",
    b"SELECT * FROM ledger.sealed",
    b"SELECT * FROM ledger.customer_keys",
    b"SELECT * FROM projection.versions",
    b"SELECT * FROM read_promises_v1.promises",
    b"SELECT * FROM read_texts_v1.texts",
    b"SELECT * FROM public.ledger_migrations",
    b"DELETE FROM audit.texts",
    b"UPDATE audit.texts SET text = 'something else'",
    b"INSERT INTO audit.followup_history (leaf_index) VALUES (1)",
    b"CREATE VIEW audit.mine AS SELECT 1",
    b"CREATE TABLE public.mine ()",
    b"CREATE OR REPLACE FUNCTION audit.timeliness() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
)


@pytest.fixture
def auditor(everything: World) -> Iterator[World]:
    everything.connection.execute("SET ROLE ledger_auditor")
    yield everything
    everything.connection.execute("RESET ROLE; RESET enable_seqscan")


def test_it_reads_every_view(auditor: World) -> None:
    rows = auditor.ask("SELECT relname FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relkind = 'v'")
    assert {row["relname"] for row in rows} == VIEWS
    for view in VIEWS:
        assert auditor.ask(f"SELECT * FROM audit.{view}"), view


def test_it_asks_as_of(auditor: World) -> None:
    assert auditor.ask("SELECT * FROM audit.promises_as_of(now())")
    assert auditor.ask("SELECT * FROM audit.outstanding_as_of(known_at => now())")
    assert auditor.ask("SELECT * FROM audit.followups_due_as_of(now(), now())")
    assert auditor.ask("SELECT * FROM audit.findings_as_of(now(), now())")
    assert auditor.ask("SELECT * FROM audit.falsehoods_as_of(now(), now())")
    assert auditor.ask("SELECT * FROM audit.corrections_as_of(now(), now())")
    assert auditor.ask("SELECT count(*) FROM audit.corrections_attempted_as_of(now(), now())")


def test_it_asks_for_a_blast_radius(auditor: World) -> None:
    assert auditor.ask("SELECT * FROM audit.false_sources('D-0')")
    assert len(auditor.ask("SELECT * FROM audit.blast_radius('D-0')")) == 2


def test_it_asks_for_the_scorecard(auditor: World) -> None:
    assert len(auditor.ask("SELECT * FROM audit.scorecard()")) == 14
    assert auditor.ask("SELECT * FROM audit.scorecard(now() - interval '1 year', now(), 'owner')")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="is by owner, kind or customer, not by ownr"):
        auditor.ask("SELECT * FROM audit.scorecard(grouped_by => 'ownr')")


def test_it_does_nothing_else(auditor: World) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.connection.execute(statement)


def test_its_rights_are_those_and_no_more(everything: World) -> None:
    granted = everything.ask(
        "SELECT table_schema, table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = 'ledger_auditor'"
    )
    assert {tuple(row.values()) for row in granted} == {("audit", view, "SELECT") for view in VIEWS}
    (role,) = everything.ask("SELECT * FROM pg_roles WHERE rolname = 'ledger_auditor'")
    assert not any(role[right] for right in ("rolcanlogin", "rolsuper", "rolcreatedb", "rolcreaterole", "rolbypassrls"))
    open_to_all = everything.ask(
        "SELECT proname FROM pg_proc, aclexplode(proacl) AS a "
        "WHERE pronamespace = 'audit'::regnamespace AND a.grantee = 0"
    )
    assert open_to_all == []


def test_every_view_and_column_and_function_says_what_it_is(everything: World) -> None:
    silent = everything.ask(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'audit'::regnamespace AND col_description(c.oid, a.attnum) IS NULL "
        "UNION ALL SELECT relname, NULL FROM pg_class "
        "WHERE relnamespace = 'audit'::regnamespace AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL "
        "UNION ALL SELECT proname, NULL FROM pg_proc "
        "WHERE pronamespace = 'audit'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL"
    )
    assert silent == []


def test_one_customers_outstanding_promises_are_an_index_lookup(auditor: World) -> None:
    auditor.connection.execute("SET enable_seqscan = off")  # the tables of a test are too small for an index to pay
    plan = auditor.ask("EXPLAIN SELECT * FROM audit.outstanding_promises WHERE customer_id = 'C-1'")
    assert "promises_outstanding" in str(plan)
    assert "Seq Scan" not in str(plan)
    plan = auditor.ask("EXPLAIN SELECT * FROM audit.outstanding_as_of(now(), now()) WHERE customer_id = 'C-1'")
    assert "promises_customer" in str(plan)
    assert "history_promise" in str(plan)
    assert "Seq Scan" not in str(plan)
    plan = auditor.ask("EXPLAIN SELECT * FROM audit.customer_timeline WHERE customer_id = 'C-1'")
    assert "timeline_customer" in str(plan)
    assert "Seq Scan" not in str(plan)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("concerns", "concern_history_customer"),
        ("concern_matrix_as_of(now(), now())", "concern_history_customer"),
        ("affected_customers", "problem_customers_affected"),
        ("undisclosed_problems_as_of(now(), now())", "problem_customers_affected"),
        ("outage_notes", "outage_history_customer"),
    ],
)
def test_one_customers_concerns_problems_and_notes_are_index_lookups(auditor: World, asked: str, index: str) -> None:
    auditor.connection.execute("SET enable_seqscan = off")
    plan = str(auditor.ask(f"EXPLAIN SELECT * FROM audit.{asked} WHERE customer_id = 'C-1'"))
    assert index in plan
    assert "Seq Scan" not in plan
