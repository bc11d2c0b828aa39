"""`verify --projections`: what was done to the read side's tables, views, functions and grants themselves is named."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import Connection

from projections import definitions, versions
from projections.runner import rebuild
from tests.projections.world import World
from tests.storage.log import copied

NOTHING = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
ATTACKS = [
    # the auditor sees less, or other than the log makes
    ("ALTER TABLE read_texts_v1.texts ENABLE ROW LEVEL SECURITY", "read_texts_v1.texts", "row security"),
    ("CREATE POLICY hide ON read_texts_v1.texts USING (leaf_index <> 7)", "read_texts_v1.texts", "policy hide"),
    ("ALTER VIEW audit.promises OWNER TO mallory", "audit.promises", "owner"),
    ("ALTER VIEW audit.concerns SET (security_invoker = true)", "audit.concerns", "options"),
    ("ALTER VIEW audit.findings SET (security_barrier = true)", "audit.findings", "options"),
    (
        "CREATE OR REPLACE VIEW audit.followups_due AS SELECT * FROM audit.followups WHERE owner <> 'u-3'",
        "audit.followups_due",
        "query",
    ),
    (  # the same text: a cast that was there for a moment is spelled as PostgreSQL's own
        "CREATE FUNCTION public.lie(text) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN '7'; END $$; "
        "CREATE CAST (text AS jsonb) WITH FUNCTION public.lie(text); DO $$ BEGIN "
        "EXECUTE 'CREATE OR REPLACE VIEW audit.customer_timeline AS ' || pg_get_viewdef('audit.customer_timeline'); "
        "END $$; DROP CAST (text AS jsonb)",
        "audit.customer_timeline",
        "call of public.lie(text)",
    ),
    (
        "CREATE OR REPLACE FUNCTION audit.timeliness(at timestamptz, standing text, ended_at timestamptz, "
        "due_at timestamptz, claimed_at timestamptz, warned_at timestamptz, latched boolean) RETURNS text "
        "LANGUAGE sql IMMUTABLE AS $$ SELECT 'on_time' $$",
        "audit.timeliness(timestamp with time zone,text,timestamp with time zone,timestamp with time zone,"
        "timestamp with time zone,timestamp with time zone,boolean)",
        "body",
    ),
    ("COMMENT ON VIEW audit.promises IS 'Those kept.'", "audit.promises", "comment"),
    ("COMMENT ON COLUMN audit.promises.due_at IS 'As first promised.'", "audit.promises", "comment due_at"),
    (
        "COMMENT ON FUNCTION audit.promises_as_of IS NULL",
        "audit.promises_as_of(timestamp with time zone,timestamp with time zone)",
        "comment",
    ),
    ("REVOKE SELECT ON audit.followups FROM ledger_auditor", "audit.followups", "grant of SELECT to ledger_auditor"),
    ("REVOKE USAGE ON SCHEMA audit FROM ledger_auditor", "schema audit", "grant of USAGE to ledger_auditor"),
    (
        "CREATE TABLE public.more () INHERITS (read_timeline_v1.timeline)",
        "read_timeline_v1.timeline",
        "child public.more",
    ),
    # the auditor sees more
    (
        "GRANT SELECT ON read_texts_v1.texts TO ledger_auditor",
        "read_texts_v1.texts",
        "grant of SELECT to ledger_auditor",
    ),
    ("CREATE VIEW audit.more AS TABLE ledger.customer_keys", "audit.more", "kind"),
    ("CREATE FUNCTION audit.more() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "audit.more()", "kind"),
    # others write, or what is written is not what the runner says
    (
        "GRANT UPDATE (due_at) ON read_promises_v1.promises TO mallory",
        "read_promises_v1.promises",
        "grant of UPDATE (due_at) to mallory",
    ),
    ("GRANT CREATE ON SCHEMA audit TO ledger_projector", "schema audit", "grant of CREATE to ledger_projector"),
    (
        "GRANT UPDATE (digest) ON projection.versions TO ledger_projector",
        "projection.versions",
        "grant of UPDATE (digest) to ledger_projector",
    ),
    (
        "CREATE RULE quiet AS ON INSERT TO read_timeline_v1.timeline DO INSTEAD NOTHING",
        "read_timeline_v1.timeline",
        "rule quiet",
    ),
    (
        f"CREATE FUNCTION public.nothing() {NOTHING}; CREATE TRIGGER quiet BEFORE UPDATE "
        "ON read_followups_v1.followups FOR EACH ROW EXECUTE FUNCTION public.nothing()",
        "read_followups_v1.followups",
        "trigger quiet",
    ),
    (
        "ALTER TABLE read_promises_v1.promises ALTER COLUMN owner SET DEFAULT 'u-9'",
        "read_promises_v1.promises",
        "column owner",
    ),
    (
        "ALTER TABLE read_promises_v1.history ADD COLUMN more text GENERATED ALWAYS AS ('x') STORED",
        "read_promises_v1.history",
        "column more",
    ),
    ("DROP INDEX projection.versions_live", "projection.versions", "index projection.versions_live"),
]


@pytest.fixture(scope="module")
def connection(postgres_url: str, _readable_template: str) -> Iterator[Connection]:
    template = urlsplit(postgres_url)._replace(path=f"/{_readable_template}").geturl()
    with copied(template, "ledger_read_definitions") as url, psycopg.connect(url) as connection:
        yield connection


def test_whatever_was_done_is_named_and_nothing_else(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE ROLE mallory")
        for attack, _, _ in ATTACKS:
            connection.execute(attack.encode())
        found = {(each.place, each.what) for each in definitions.differing(connection)}
    named = {(place, what) for _, place, what in ATTACKS}
    assert named - found == set()
    assert {place for place, _ in found - named} == {"audit.more", "audit.more()"}


def test_what_was_taken_away_is_missed(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("DROP VIEW audit.customer_timeline")
        found = definitions.differing(connection)
        assert {each.place for each in found} == {"audit.customer_timeline"}
        assert {(each.found, each.what in ("kind", "query")) for each in found} >= {(None, True)}
        connection.execute("DROP SCHEMA audit CASCADE")
        assert ("schema audit", "kind", None, "schema") in {
            (each.place, each.what, each.found, each.expected) for each in definitions.differing(connection)
        }
    assert definitions.differing(connection) == []


def test_after_a_rebuild_and_while_readers_and_runners_go_on_nothing_differs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_anew = versions.make_anew

    def go_on(*given: Any) -> None:
        make_anew(*given)
        world.connection.execute("SET lock_timeout = '20 s'")
        world.make(1)
        world.catch_up()
        assert [row["promise_id"] for row in world.ask("SELECT promise_id FROM audit.promises")] == ["P-1"]

    rebuild(world.url, world.secrets, "promises")
    monkeypatch.setattr(versions, "make_anew", go_on)
    assert definitions.check(world.url) == []
    assert world.ask("SELECT number FROM projection.versions WHERE name = 'promises'") == [{"number": 2}]
    assert world.ask("SELECT promise_id FROM audit.promises") != []


def test_tables_of_another_release_are_not_compared_with_those_of_this_one(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE projection.versions SET digest = 'another' WHERE name = 'texts'")
        connection.execute("DROP VIEW audit.customer_timeline")
        assert definitions.differing(connection) == []
