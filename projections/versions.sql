-- name: create
-- Asked by migrate: the bookkeeping of all projections, and who may read what they show.
CREATE SCHEMA IF NOT EXISTS projection;
COMMENT ON SCHEMA projection IS 'Which version of each projection exists, how far it has come, and why it stopped if it did.';

CREATE TABLE IF NOT EXISTS projection.versions (
    name       text        NOT NULL,
    number     integer     NOT NULL CHECK (number >= 1),
    live       boolean     NOT NULL,
    position   bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    digest     text        NOT NULL,
    stopped_at bigint,
    reason     text,
    PRIMARY KEY (name, number)
);
CREATE UNIQUE INDEX IF NOT EXISTS versions_live ON projection.versions (name) WHERE live;
COMMENT ON TABLE projection.versions IS 'One row a version: its tables stand in the schema read_<name>_v<number>.';
COMMENT ON COLUMN projection.versions.position IS 'Leaves applied; moved in the transaction that writes the rows.';
COMMENT ON COLUMN projection.versions.digest IS 'SHA-256 of the SQL that made the tables.';
COMMENT ON COLUMN projection.versions.stopped_at IS 'The leaf that could not be applied; empty while all is well.';

CREATE SCHEMA IF NOT EXISTS audit;
COMMENT ON SCHEMA audit IS 'What auditors read: views and functions, nothing else.';

GRANT USAGE ON SCHEMA projection TO ledger_appender, ledger_projector, ledger_eraser, ledger_relay;
GRANT SELECT ON projection.versions TO ledger_appender, ledger_projector, ledger_eraser, ledger_relay;
GRANT UPDATE (position, stopped_at, reason) ON projection.versions TO ledger_projector;
GRANT UPDATE (position) ON projection.versions TO ledger_eraser; -- to lock the row while it purges, never to move it

-- name: lock
-- Asked before every batch: two runners take turns, and neither writes into a version that was switched away.
SELECT number, position, digest FROM projection.versions
WHERE name = %(name)s AND CASE WHEN %(number)s::integer IS NULL THEN live ELSE number = %(number)s END FOR UPDATE;

-- name: position
-- Asked by check, within its snapshot.
SELECT number, position, digest FROM projection.versions WHERE name = %(name)s AND live;

-- name: move
-- The last statement of a batch.
UPDATE projection.versions SET position = %(position)s, stopped_at = NULL, reason = NULL
WHERE name = %(name)s AND number = %(number)s;

-- name: stop
-- A leaf that cannot be applied; only while the version still stands before it.
UPDATE projection.versions SET stopped_at = position, reason = %(reason)s
WHERE name = %(name)s AND position = %(leaf_index)s
  AND CASE WHEN %(number)s::integer IS NULL THEN live ELSE number = %(number)s END;

-- name: begin
-- A new version beside those there are.
INSERT INTO projection.versions (name, number, live, digest)
SELECT %(name)s, coalesce(max(number), 0) + 1, %(live)s, %(digest)s FROM projection.versions WHERE name = %(name)s
RETURNING number;

-- name: there
-- Asked by migrate and check: which of these schemas exist.
SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s);

-- name: number_before
-- Asked by check, in a transaction that is rolled back: so that `begin` gives the number after it.
INSERT INTO projection.versions (name, number, live, digest)
SELECT %(name)s, %(number)s, false, '' WHERE %(number)s > 0;

-- name: write_grants
-- Run when the tables of a version were made, and by migrate: the live runner fills them.
GRANT USAGE ON SCHEMA {schema} TO ledger_projector, ledger_eraser;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO ledger_projector;

-- name: live
-- Asked by migrate, and by each command that reads.
SELECT name, number, digest FROM projection.versions WHERE live;

-- name: unfinished
-- Asked by rebuild and check: what a crash left half-built.
SELECT number FROM projection.versions WHERE name = %(name)s AND NOT live;

-- name: forget
DELETE FROM projection.versions WHERE name = %(name)s AND number = %(number)s;

-- name: make_live
UPDATE projection.versions SET live = true WHERE name = %(name)s AND number = %(number)s;

-- name: status
-- Asked by health.
SELECT v.name, v.number, v.position, greatest(h.size - v.position, 0) AS lag_events, v.digest, v.stopped_at, v.reason
FROM projection.versions AS v LEFT JOIN ledger.head AS h ON true WHERE v.live ORDER BY v.name;

-- name: views_of
-- Asked when views must be made anew: those that read the tables of any version of a projection.
SELECT DISTINCT v.relname
FROM pg_depend AS d
JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class AS v ON v.oid = r.ev_class AND v.relnamespace = 'audit'::regnamespace
JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
WHERE starts_with(t.relnamespace::regnamespace::text, %(schemas)s);

-- name: grants
-- Run after views were made. SELECT on views alone: whatever else exists stays closed to auditors.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO ledger_auditor, ledger_projector, ledger_appender, ledger_relay;
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO ledger_auditor, ledger_projector;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO ledger_auditor, ledger_projector, ledger_appender;

-- name: share_comments
-- Columns that carry one name in several views mean one thing: what is said of it in one is said in the others too, first
-- of all what audit.promises says.
DO $$
DECLARE silent record;
BEGIN
    FOR silent IN
        WITH shown AS (
            SELECT v.relname, a.attname, d.description
            FROM pg_class AS v
            JOIN pg_attribute AS a ON a.attrelid = v.oid AND a.attnum > 0
            LEFT JOIN pg_description AS d
                ON d.objoid = v.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
            WHERE v.relnamespace = 'audit'::regnamespace AND v.relkind = 'v'
        )
        SELECT DISTINCT ON (v.relname, v.attname) v.relname, v.attname, o.description AS said
        FROM shown AS v JOIN shown AS o ON o.attname = v.attname AND o.description <> ''
        WHERE v.description IS NULL
        ORDER BY v.relname, v.attname, o.relname = 'promises' DESC, o.relname = 'promise_history' DESC, o.relname
    LOOP
        EXECUTE format('COMMENT ON COLUMN audit.%I.%I IS %L', silent.relname, silent.attname, silent.said);
    END LOOP;
END $$;
