-- name: tables
-- The fields of projections.troubles.problems.ProblemRow in their order, then where the row comes from.
CREATE TABLE problems (
    problem_id           text        NOT NULL PRIMARY KEY,
    customer_id          text        NOT NULL,
    version              integer     NOT NULL,
    owner                text        NOT NULL,
    severity             integer     NOT NULL,
    detected_by          text        NOT NULL,
    known_since          timestamptz NOT NULL,
    detected_at          timestamptz NOT NULL,
    causes               integer     NOT NULL,
    cause_class          text,
    control              text,
    cause_basis          text,
    steps                text[]      NOT NULL,
    addresses            text[]      NOT NULL,
    concerns_open        integer     NOT NULL,
    cycle                integer     NOT NULL,
    resolved_at          timestamptz,
    root_cause_addressed boolean,
    case_id              text,
    made_leaf_index      bigint      NOT NULL,
    leaf_index           bigint      NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE problems IS 'One row a problem: what the fold goes on from.';

CREATE TABLE problem_history (
    LIKE problems,
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (leaf_index)
);
COMMENT ON TABLE problem_history IS 'One row an event of a problem, with the problem as it stood after it.';

CREATE TABLE problem_customers (
    leaf_index    bigint      NOT NULL,
    customer_id   text        NOT NULL,
    problem_id    text        NOT NULL,
    what          text        NOT NULL,
    known_since   timestamptz,
    disclosure_id text,
    review_at     timestamptz,
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    actor         text        NOT NULL,
    PRIMARY KEY (leaf_index, customer_id)
);
COMMENT ON TABLE problem_customers IS
    'One row an event and customer: affected, told, withheld, verified or failed. Facts, which no later event changes.';

-- name: indexes
CREATE INDEX problem_history_problem ON problem_history (problem_id, leaf_index);
-- Asked by "which problems are there": one row a problem.
CREATE INDEX problem_history_detected ON problem_history (problem_id) WHERE version = 1;
-- Asked by "who owns this problem, and what caused it": that of the last, however many were told of it meanwhile.
CREATE INDEX problem_history_owned ON problem_history (problem_id, occurred_at, leaf_index)
    WHERE type = 'problem.ownership_taken';
CREATE INDEX problem_history_caused ON problem_history (problem_id, occurred_at, leaf_index)
    WHERE type = 'problem.cause_recorded';
-- Asked by "whom does this problem touch, and what do they know of it".
CREATE INDEX problem_customers_problem ON problem_customers (problem_id, customer_id);
-- Asked by "which problems touch this customer".
CREATE INDEX problem_customers_affected ON problem_customers (customer_id) WHERE what = 'affected';
-- Asked by "which verifications still stand".
CREATE INDEX problem_customers_failed ON problem_customers (problem_id, leaf_index) WHERE what = 'failed';

-- name: views
CREATE OR REPLACE VIEW audit.problem_history AS
SELECT
    leaf_index, problem_id, version, type, occurred_at, recorded_at, actor, source, customer_id, owner, severity,
    detected_by, known_since, detected_at, cause_class, control, cause_basis, causes, steps, addresses, concerns_open,
    cycle, resolved_at, root_cause_addressed, case_id, made_leaf_index
FROM problem_history;
COMMENT ON VIEW audit.problem_history IS 'Every event of every problem, with the problem as it stood after it.';
COMMENT ON COLUMN audit.problem_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.problem_history.version IS 'The number of the event among those of its problem, from 1.';
COMMENT ON COLUMN audit.problem_history.type IS 'What happened: problem.detected, problem.cause_recorded …';
COMMENT ON COLUMN audit.problem_history.customer_id IS 'The customer who was named first, under whose key the words are sealed (a pseudonym).';
COMMENT ON COLUMN audit.problem_history.owner IS 'The person or role on our side who answers for it.';
COMMENT ON COLUMN audit.problem_history.known_since IS 'Since when we have known of it.';
COMMENT ON COLUMN audit.problem_history.cause_class IS 'The cause as last recorded, as a class; empty: none was.';
COMMENT ON COLUMN audit.problem_history.control IS 'within or beyond our control, as last recorded.';
COMMENT ON COLUMN audit.problem_history.cycle IS 'Which attempt this is, from 1: every failed resolution opens the next.';
COMMENT ON COLUMN audit.problem_history.made_leaf_index IS 'The event of its detection: its index in the log, from 0.';

CREATE OR REPLACE VIEW audit.problem_detections AS
SELECT problem_id, owner, severity, detected_by, known_since, detected_at, leaf_index, recorded_at
FROM problem_history WHERE version = 1;
COMMENT ON VIEW audit.problem_detections IS 'Every problem, as it was detected.';
COMMENT ON COLUMN audit.problem_detections.problem_id IS 'The id of the problem, for ever.';
COMMENT ON COLUMN audit.problem_detections.owner IS 'Who owned it when it was detected.';
COMMENT ON COLUMN audit.problem_detections.severity IS '1 (worst) to 4.';
COMMENT ON COLUMN audit.problem_detections.detected_by IS 'us, customer or third_party.';
COMMENT ON COLUMN audit.problem_detections.known_since IS 'Since when we have known of it.';
COMMENT ON COLUMN audit.problem_detections.detected_at IS 'When its detection was reported to the ledger, as the source says.';
COMMENT ON COLUMN audit.problem_detections.leaf_index IS 'The event of its detection: its index in the log, from 0.';
COMMENT ON COLUMN audit.problem_detections.recorded_at IS 'When the ledger wrote its detection down; never decreasing.';

CREATE OR REPLACE VIEW audit.problem_customers AS
SELECT
    leaf_index, problem_id, customer_id, what, occurred_at, recorded_at, actor, known_since, disclosure_id, review_at
FROM problem_customers;
COMMENT ON VIEW audit.problem_customers IS
    'What happened between a problem and each customer, one row an event and customer: the facts behind '
    'audit.affected_customers.';
COMMENT ON COLUMN audit.problem_customers.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.problem_customers.problem_id IS 'The problem.';
COMMENT ON COLUMN audit.problem_customers.customer_id IS 'The customer (a pseudonym).';
COMMENT ON COLUMN audit.problem_customers.what IS
    'affected, told, withheld, verified (they say that the resolution works) or failed (that it does not).';
COMMENT ON COLUMN audit.problem_customers.known_since IS 'affected: since when we have known that it touches this customer.';
COMMENT ON COLUMN audit.problem_customers.disclosure_id IS 'told, withheld: the disclosure.';
COMMENT ON COLUMN audit.problem_customers.review_at IS 'withheld: until when, unless it is withheld again.';

CREATE OR REPLACE FUNCTION audit.affected_customers_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    problem_id text, customer_id text, owner text, known_since timestamptz, affected_at timestamptz, told_at timestamptz,
    leaf_index bigint, disclosure text, withheld_until timestamptz, verified_at timestamptz, failed_at timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        a.problem_id, a.customer_id, p.owner, a.known_since, a.occurred_at, h.told_at, a.leaf_index,
        CASE
            WHEN h.told_at IS NOT NULL THEN 'told'
            WHEN h.withheld_until >= coalesce(as_of, known_at, now()) THEN 'withheld'
            ELSE 'undisclosed'
        END,
        h.withheld_until, h.verified_at, h.failed_at
    FROM audit.problem_customers AS a
    JOIN audit.problem_detections AS p ON p.problem_id = a.problem_id
    CROSS JOIN LATERAL (
        SELECT
            min(e.occurred_at) FILTER (WHERE e.what = 'told') AS told_at,
            (array_agg(e.review_at ORDER BY e.occurred_at DESC, e.leaf_index DESC) FILTER (WHERE e.what = 'withheld'))[1] AS withheld_until,
            max(e.occurred_at) FILTER (
                WHERE e.what = 'verified' AND NOT EXISTS (  -- in this cycle: whoever says no opens the next for all
                    SELECT FROM audit.problem_customers AS f
                    WHERE f.problem_id = a.problem_id AND f.what = 'failed' AND f.leaf_index > e.leaf_index
                      AND f.occurred_at <= coalesce(as_of, 'infinity') AND f.recorded_at <= coalesce(known_at, 'infinity')
                )
            ) AS verified_at,
            max(e.occurred_at) FILTER (WHERE e.what = 'failed') AS failed_at
        FROM audit.problem_customers AS e
        WHERE e.problem_id = a.problem_id AND e.customer_id = a.customer_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
    ) AS h
    WHERE a.what = 'affected'
      AND a.occurred_at <= coalesce(as_of, 'infinity') AND a.recorded_at <= coalesce(known_at, 'infinity')
$$;
COMMENT ON FUNCTION audit.affected_customers_as_of IS
    'Whom each problem was known to touch, and what they knew of it and said of its resolution, at as_of, as far as the '
    'ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.affected_customers AS SELECT * FROM audit.affected_customers_as_of();
COMMENT ON VIEW audit.affected_customers IS 'Whom a problem touches, since when they know of it from us, and what they say of its resolution.';
COMMENT ON COLUMN audit.affected_customers.problem_id IS 'The problem.';
COMMENT ON COLUMN audit.affected_customers.customer_id IS 'The customer whom it touches (a pseudonym).';
COMMENT ON COLUMN audit.affected_customers.owner IS 'Who owned the problem when it was detected.';
COMMENT ON COLUMN audit.affected_customers.known_since IS 'Since when we have known that it touches this customer.';
COMMENT ON COLUMN audit.affected_customers.affected_at IS 'When that was reported to the ledger, as the source says.';
COMMENT ON COLUMN audit.affected_customers.told_at IS 'When we first told this customer of it. Empty while we have not.';
COMMENT ON COLUMN audit.affected_customers.leaf_index IS 'The event that named this customer: its index in the log, from 0.';
COMMENT ON COLUMN audit.affected_customers.disclosure IS
    'told, withheld (with approval, its review still ahead) or undisclosed (neither).';
COMMENT ON COLUMN audit.affected_customers.withheld_until IS 'When the last withholding of it from them is to be reviewed, and ends.';
COMMENT ON COLUMN audit.affected_customers.verified_at IS 'When they said that the resolution works, in this cycle. Silence is no yes.';
COMMENT ON COLUMN audit.affected_customers.failed_at IS 'When they last said that it does not work.';

CREATE OR REPLACE FUNCTION audit.problems_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    problem_id text, owner text, severity integer, state text, known_since timestamptz, detected_at timestamptz,
    detected_by text, text text, cause_class text, control text, cause_basis text, causes integer, steps text[],
    addresses text[], concerns_open integer, affected bigint, told bigint, withheld bigint, undisclosed bigint,
    verified bigint, cycle integer, resolved_at timestamptz, root_cause_addressed boolean, customer_id text, case_id text,
    version integer, made_leaf_index bigint, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.problem_id, coalesce(owned.owner, d.owner), h.severity,
        CASE WHEN h.resolved_at IS NULL THEN 'open' WHEN c.verified < c.affected THEN 'claimed' ELSE 'verified' END,
        h.known_since, h.detected_at, h.detected_by, said.text, cause.cause_class, cause.control, cause.cause_basis, h.causes, h.steps,
        h.addresses, h.concerns_open, c.affected, c.told, c.withheld, c.undisclosed, c.verified, h.cycle, h.resolved_at,
        h.root_cause_addressed, h.customer_id, h.case_id, h.version, h.made_leaf_index, h.leaf_index
    FROM audit.problem_detections AS d
    CROSS JOIN LATERAL (
        SELECT * FROM audit.problem_history AS e
        WHERE e.problem_id = d.problem_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.leaf_index DESC LIMIT 1
    ) AS h
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS affected, count(*) FILTER (WHERE a.disclosure = 'told') AS told,
            count(*) FILTER (WHERE a.disclosure = 'withheld') AS withheld,
            count(*) FILTER (WHERE a.disclosure = 'undisclosed') AS undisclosed, count(a.verified_at) AS verified
        FROM audit.affected_customers_as_of(as_of, known_at) AS a WHERE a.problem_id = d.problem_id
    ) AS c
    LEFT JOIN LATERAL (  -- whoever took it last, though somebody before may be on record later
        SELECT e.owner FROM audit.problem_history AS e
        WHERE e.problem_id = d.problem_id AND e.type = 'problem.ownership_taken'
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.occurred_at DESC, e.leaf_index DESC LIMIT 1
    ) AS owned ON true
    LEFT JOIN LATERAL (  -- found last
        SELECT e.cause_class, e.control, e.cause_basis FROM audit.problem_history AS e
        WHERE e.problem_id = d.problem_id AND e.type = 'problem.cause_recorded'
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.occurred_at DESC, e.leaf_index DESC LIMIT 1
    ) AS cause ON true
    LEFT JOIN audit.texts AS said ON said.leaf_index = h.made_leaf_index AND said.member = 'summary'
$$;
COMMENT ON FUNCTION audit.problems_as_of IS
    'Every problem as it stood at as_of, as far as the ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.problems AS SELECT * FROM audit.problems_as_of();
COMMENT ON VIEW audit.problems IS 'Every problem: who owns it, its cause, its plan, and how many of the affected know of it, as it stands now.';
COMMENT ON COLUMN audit.problems.known_since IS 'Since when we have known of it.';
COMMENT ON COLUMN audit.problems.owner IS 'The person or role on our side who answers for it now.';
COMMENT ON COLUMN audit.problems.state IS 'open, claimed (we say that it is resolved) or verified (every affected customer has said so).';
COMMENT ON COLUMN audit.problems.text IS 'What is wrong, in the words used. Empty once the customer was erased under whose key they are.';
COMMENT ON COLUMN audit.problems.cause_class IS 'The cause as found last, as a class; empty: none was. audit.problem_history has all, in the order of the log.';
COMMENT ON COLUMN audit.problems.control IS 'within or beyond our control, as found last.';
COMMENT ON COLUMN audit.problems.cause_basis IS 'assumed or verified: what the cause rests on.';
COMMENT ON COLUMN audit.problems.causes IS 'How often a cause was recorded.';
COMMENT ON COLUMN audit.problems.steps IS 'The plan: promises, by id.';
COMMENT ON COLUMN audit.problems.addresses IS 'What the plan addresses: concerns, by id, and root_cause.';
COMMENT ON COLUMN audit.problems.concerns_open IS 'How many concerns about it are open.';
COMMENT ON COLUMN audit.problems.affected IS 'How many customers it is known to touch.';
COMMENT ON COLUMN audit.problems.told IS 'How many of them we have told.';
COMMENT ON COLUMN audit.problems.withheld IS 'From how many it is withheld, with approval and a review still ahead.';
COMMENT ON COLUMN audit.problems.undisclosed IS 'How many of them are neither told nor lawfully withheld from.';
COMMENT ON COLUMN audit.problems.verified IS 'How many of them say that the resolution works, in this cycle.';
COMMENT ON COLUMN audit.problems.cycle IS 'Which attempt this is, from 1: every failed resolution opens the next.';
COMMENT ON COLUMN audit.problems.resolved_at IS 'When we said that it is resolved, in this cycle.';
COMMENT ON COLUMN audit.problems.root_cause_addressed IS 'That claim says that the root cause is gone.';
COMMENT ON COLUMN audit.problems.customer_id IS 'The customer who was named first, under whose key the words are sealed (a pseudonym).';
COMMENT ON COLUMN audit.problems.version IS 'How many events it has.';
COMMENT ON COLUMN audit.problems.made_leaf_index IS 'The event of its detection: its index in the log, from 0.';
COMMENT ON COLUMN audit.problems.leaf_index IS 'The event that this row comes from (the last one): its index in the log, from 0.';

CREATE OR REPLACE FUNCTION audit.undisclosed_problems_as_of(
    as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL
) RETURNS TABLE (
    problem_id text, customer_id text, owner text, severity integer, known_since timestamptz, days_known float8,
    withheld_until timestamptz, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        a.problem_id, a.customer_id, coalesce(owned.owner, a.owner), d.severity, a.known_since,
        round(extract(epoch FROM coalesce(as_of, known_at, now()) - a.known_since) / 86400, 2)::float8,
        a.withheld_until, a.leaf_index
    FROM audit.affected_customers_as_of(as_of, known_at) AS a
    JOIN audit.problem_detections AS d ON d.problem_id = a.problem_id
    LEFT JOIN LATERAL (  -- whoever took it last, though somebody before may be on record later
        SELECT e.owner FROM audit.problem_history AS e
        WHERE e.problem_id = a.problem_id AND e.type = 'problem.ownership_taken'
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.occurred_at DESC, e.leaf_index DESC LIMIT 1
    ) AS owned ON true
    WHERE a.disclosure = 'undisclosed'
$$;
COMMENT ON FUNCTION audit.undisclosed_problems_as_of IS
    'As audit.undisclosed_problems, at as_of, as far as the ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.undisclosed_problems AS SELECT * FROM audit.undisclosed_problems_as_of();
COMMENT ON VIEW audit.undisclosed_problems IS
    'Who is touched by a problem and was neither told of it nor, with approval and a review still ahead, withheld from.';
COMMENT ON COLUMN audit.undisclosed_problems.problem_id IS 'The problem.';
COMMENT ON COLUMN audit.undisclosed_problems.customer_id IS 'The customer who does not know of it from us (a pseudonym).';
COMMENT ON COLUMN audit.undisclosed_problems.owner IS 'The person or role on our side who answers for the problem now.';
COMMENT ON COLUMN audit.undisclosed_problems.known_since IS 'Since when we have known that it touches this customer.';
COMMENT ON COLUMN audit.undisclosed_problems.days_known IS 'How many days that is.';
COMMENT ON COLUMN audit.undisclosed_problems.withheld_until IS 'When a withholding of it from them was to be reviewed, and ended; empty: there was none.';
COMMENT ON COLUMN audit.undisclosed_problems.leaf_index IS 'The event that named this customer: its index in the log, from 0.';
