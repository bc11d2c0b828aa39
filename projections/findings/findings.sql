-- name: tables
CREATE TABLE findings (
    opened_by          bigint      NOT NULL,
    number             integer     NOT NULL,
    code               text        NOT NULL,
    severity           text        NOT NULL,
    subject            text        NOT NULL,
    customer_id        text,
    case_id            text,
    opened_at          timestamptz NOT NULL,
    opened_recorded_at timestamptz NOT NULL,
    closed_at          timestamptz,
    closed_by          bigint,
    closed_recorded_at timestamptz,
    detail             jsonb,
    leaf_index         bigint      NOT NULL,
    PRIMARY KEY (opened_by, number)
) WITH (fillfactor = 60);
COMMENT ON TABLE findings IS
    'One row a finding. opened_at may lie ahead; closed_at <= opened_at: prevented or proven false, and never open.';
COMMENT ON COLUMN findings.number IS 'Tells those apart that one event opened; below zero: left by a tail of a customer.';

-- The fields of projections.findings.records.Customer in their order.
CREATE TABLE tails (
    customer_id           text        NOT NULL PRIMARY KEY,
    owed                  integer     NOT NULL,
    owed_since            timestamptz,
    lost_at               timestamptz,
    said_at               timestamptz,
    heard_at              timestamptz,
    silent_from           timestamptz,
    silent_by             bigint,
    silent_recorded_at    timestamptz,
    neglected_from        timestamptz,
    neglected_by          bigint,
    neglected_recorded_at timestamptz
) WITH (fillfactor = 80);
COMMENT ON TABLE tails IS
    'One row a customer: when silent-customer and neglected-customer open next, unless somebody speaks before.';

CREATE TABLE remembered (
    key        text   NOT NULL PRIMARY KEY,
    value      text   NOT NULL,
    leaf_index bigint NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE remembered IS 'What the rules remember from one event to the next, as JSON (projections.findings.records).';

CREATE TABLE links (
    kind       text   NOT NULL,
    source     text   NOT NULL,
    target     text   NOT NULL,
    leaf_index bigint NOT NULL
);
COMMENT ON TABLE links IS 'What hangs on what: disclosures that something rests on, customers that a problem affects …';
-- Asked while folding, so it must be there from the start.
CREATE INDEX links_source ON links (kind, source);

-- name: indexes
-- Asked by "what is wrong now": stays as small as what is not closed.
CREATE INDEX findings_unclosed ON findings (customer_id, code) WHERE closed_by IS NULL;
-- Asked as of a past moment.
CREATE INDEX findings_customer ON findings (customer_id);
-- Asked by "whom did we try to reach about a falsehood".
CREATE INDEX findings_corrections ON findings (subject) WHERE code = 'correction-owed';

-- name: remembered
-- Asked by the fold for what a batch needs.
SELECT key, value FROM remembered WHERE key = ANY(string_to_array(%(keys)s, ' '));

-- name: tails
-- Asked by the fold for what a batch needs.
SELECT * FROM tails WHERE customer_id = ANY(string_to_array(%(ids)s, ' '));

-- name: targets
-- Asked by the fold: what hangs on these.
SELECT target FROM links WHERE kind = %(kind)s AND source = ANY(string_to_array(%(sources)s, ' ')) ORDER BY leaf_index, target;

-- name: downstream
-- Asked by the fold when a disclosure is falsified: what rests on it, through whatever length of chain. OFFSET 0 makes
-- each step look its own links up: the planner, who cannot know how many steps there are, would else join all of them.
WITH RECURSIVE resting AS (
    SELECT target FROM links WHERE kind = %(kind)s AND source = %(source)s
    UNION
    SELECT found.target FROM resting AS r CROSS JOIN LATERAL (
        SELECT l.target FROM links AS l WHERE l.kind = %(kind)s AND l.source = r.target OFFSET 0
    ) AS found
)
SELECT target FROM resting WHERE target <> %(source)s ORDER BY target;

-- name: stage
-- Asked by the fold once for a connection and version.
DROP TABLE IF EXISTS pg_temp.closings;
CREATE TEMPORARY TABLE closings (
    opened_by          bigint      NOT NULL,
    number             integer     NOT NULL,
    closed_at          timestamptz NOT NULL,
    closed_by          bigint      NOT NULL,
    closed_recorded_at timestamptz NOT NULL
);

-- name: no_closings
TRUNCATE pg_temp.closings;

-- name: row_by_row
-- Asked before the next: the planner knows nothing of a table just made, and would read all findings to close a few.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_seqscan', 'off', true);

-- name: close
-- Asked by the fold for findings of earlier batches.
UPDATE findings AS f
SET closed_at = c.closed_at, closed_by = c.closed_by, closed_recorded_at = c.closed_recorded_at,
    leaf_index = greatest(f.leaf_index, c.closed_by)
FROM pg_temp.closings AS c
WHERE f.opened_by = c.opened_by AND f.number = c.number;

-- name: views
CREATE OR REPLACE VIEW audit.finding_history AS
SELECT
    code, severity, subject, customer_id, case_id, opened_at, closed_at, opened_by, closed_by, detail, leaf_index,
    coalesce(closed_at <= opened_at, false) AS prevented, opened_recorded_at, closed_recorded_at, number
FROM findings
UNION ALL
SELECT
    'silent-customer', 'medium', 'customer:' || customer_id, customer_id, NULL, silent_from, NULL, silent_by, NULL, NULL,
    silent_by, false, silent_recorded_at, NULL, -1
FROM tails WHERE silent_from IS NOT NULL
UNION ALL
SELECT
    'neglected-customer', 'low', 'customer:' || customer_id, customer_id, NULL, neglected_from, NULL, neglected_by, NULL,
    NULL, neglected_by, false, neglected_recorded_at, NULL, -2
FROM tails WHERE neglected_from IS NOT NULL;
COMMENT ON VIEW audit.finding_history IS
    'Every finding that was, is or will be open unless something comes before; prevented ones too, which never are.';
COMMENT ON COLUMN audit.finding_history.code IS 'Which rule: docs/findings.md has the sentence.';
COMMENT ON COLUMN audit.finding_history.severity IS 'high, medium or low.';
COMMENT ON COLUMN audit.finding_history.subject IS 'The stream that it is about: promise:P-1, disclosure:D-1, customer:C-1 …';
COMMENT ON COLUMN audit.finding_history.customer_id IS 'Whom it touches (a pseudonym). Empty where it touches nobody alone.';
COMMENT ON COLUMN audit.finding_history.case_id IS 'The case that it belongs to.';
COMMENT ON COLUMN audit.finding_history.opened_at IS 'From when on it is open. May lie ahead: when something falls due.';
COMMENT ON COLUMN audit.finding_history.closed_at IS 'When it was closed, or prevented. Empty: not yet.';
COMMENT ON COLUMN audit.finding_history.opened_by IS 'The event that it comes from: its index in the log, from 0.';
COMMENT ON COLUMN audit.finding_history.closed_by IS 'The event that closed or prevented it: its index in the log, from 0.';
COMMENT ON COLUMN audit.finding_history.detail IS 'What it rests on: times, codes and ids, no texts.';
COMMENT ON COLUMN audit.finding_history.leaf_index IS 'The event that the row last changed with: its index in the log, from 0.';
COMMENT ON COLUMN audit.finding_history.prevented IS 'Its closing came first: it was never open.';
COMMENT ON COLUMN audit.finding_history.opened_recorded_at IS 'When the event that it comes from was written down.';
COMMENT ON COLUMN audit.finding_history.closed_recorded_at IS 'When the event that closed it was written down.';
COMMENT ON COLUMN audit.finding_history.number IS 'Tells those apart that one event opened.';
GRANT SELECT ON audit.finding_history TO ledger_relay;

CREATE OR REPLACE VIEW audit.findings AS
SELECT code, severity, subject, customer_id, case_id, opened_at, closed_at, opened_by, closed_by, detail, leaf_index
FROM audit.finding_history
WHERE opened_at <= now() AND (closed_at IS NULL OR closed_at > now());
COMMENT ON VIEW audit.findings IS 'What is wrong now: findings that are open, with the events that prove them.';
COMMENT ON COLUMN audit.findings.customer_id IS 'Whom it touches (a pseudonym). Empty where it touches nobody alone.';
COMMENT ON COLUMN audit.findings.case_id IS 'The case that it belongs to.';
COMMENT ON COLUMN audit.findings.opened_at IS 'Since when it is open.';
COMMENT ON COLUMN audit.findings.closed_at IS 'When it will be closed: known where the event that closes it is dated ahead.';
COMMENT ON COLUMN audit.findings.leaf_index IS 'The event that the row last changed with: its index in the log, from 0.';

CREATE OR REPLACE FUNCTION audit.findings_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS SETOF audit.findings LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.code, h.severity, h.subject, h.customer_id, h.case_id, h.opened_at,
        CASE WHEN k.closing_known THEN h.closed_at END, h.opened_by, CASE WHEN k.closing_known THEN h.closed_by END,
        h.detail, CASE WHEN k.closing_known THEN h.leaf_index ELSE h.opened_by END
    FROM audit.finding_history AS h
    CROSS JOIN LATERAL (
        SELECT h.closed_recorded_at <= coalesce(known_at, 'infinity') AS closing_known
    ) AS k
    WHERE h.opened_recorded_at <= coalesce(known_at, 'infinity')
      AND h.opened_at <= coalesce(as_of, known_at, now())
      AND (k.closing_known IS NOT TRUE OR h.closed_at > coalesce(as_of, known_at, now()))
$$;
COMMENT ON FUNCTION audit.findings_as_of IS
    'Findings that were open at as_of, as far as the ledger knew at known_at. Leave out either: known_at alone asks what '
    'the ledger would have answered then.';
