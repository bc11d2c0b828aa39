-- name: tables
-- The fields of ledger.domain.concerns.Concern in their order, then where the row comes from.
CREATE TABLE concerns (
    concern_id      text        NOT NULL PRIMARY KEY,
    customer_id     text        NOT NULL,
    version         integer     NOT NULL,
    severity        integer,
    raised_at       timestamptz NOT NULL,
    cycle           integer     NOT NULL,
    acknowledged_at timestamptz,
    addressed_at    timestamptz,
    addressed_by    text,
    problem_id      text,
    confirmed_at    timestamptz,
    withdrawn_at    timestamptz,
    case_id         text,
    made_leaf_index bigint      NOT NULL,
    leaf_index      bigint      NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE concerns IS 'One row a concern, settled ones too: what the fold goes on from.';

CREATE TABLE concern_history (
    LIKE concerns,
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (leaf_index)
);
COMMENT ON TABLE concern_history IS 'One row an event of a concern, with the concern as it stood after it.';

-- name: indexes
CREATE INDEX concern_history_concern ON concern_history (concern_id, leaf_index);
-- Asked by "what did this customer raise": one row a concern.
CREATE INDEX concern_history_customer ON concern_history (customer_id) WHERE version = 1;

-- name: views
CREATE OR REPLACE VIEW audit.concern_history AS
SELECT
    leaf_index, concern_id, version, type, occurred_at, recorded_at, actor, source, customer_id, problem_id, severity,
    raised_at, acknowledged_at, addressed_at, addressed_by, confirmed_at, withdrawn_at, cycle, case_id, made_leaf_index
FROM concern_history;
COMMENT ON VIEW audit.concern_history IS 'Every event of every concern, with the concern as it stood after it.';
COMMENT ON COLUMN audit.concern_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.concern_history.version IS 'The number of the event among those of its concern, from 1.';
COMMENT ON COLUMN audit.concern_history.type IS 'What happened: concern.raised, concern.acknowledged …';
COMMENT ON COLUMN audit.concern_history.customer_id IS 'Who raised it (a pseudonym).';
COMMENT ON COLUMN audit.concern_history.acknowledged_at IS 'When we said in our words what we understood, in this cycle.';
COMMENT ON COLUMN audit.concern_history.made_leaf_index IS 'The event that raised it: its index in the log, from 0.';
COMMENT ON COLUMN audit.concern_history.cycle IS 'How often it was open, from 1: a follow-up that found it not to work opens the next.';

CREATE OR REPLACE FUNCTION audit.concerns_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    concern_id text, customer_id text, problem_id text, state text, severity integer, raised_at timestamptz,
    acknowledged_at timestamptz, addressed_at timestamptz, addressed_by text, confirmed_at timestamptz,
    withdrawn_at timestamptz, days_open float8, text text, cycle integer, case_id text, version integer,
    made_leaf_index bigint, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.concern_id, h.customer_id, h.problem_id,
        CASE
            WHEN h.withdrawn_at IS NOT NULL THEN 'withdrawn'
            WHEN h.confirmed_at IS NOT NULL THEN 'confirmed'
            WHEN h.addressed_at IS NOT NULL THEN 'addressed'
            WHEN h.acknowledged_at IS NOT NULL THEN 'acknowledged'
            ELSE 'raised'
        END,
        h.severity, h.raised_at, h.acknowledged_at, h.addressed_at, h.addressed_by, h.confirmed_at, h.withdrawn_at,
        round(extract(epoch FROM
            coalesce(least(h.addressed_at, h.withdrawn_at), as_of, known_at, now()) - h.raised_at) / 86400, 2)::float8,
        said.text, h.cycle, h.case_id, h.version, h.made_leaf_index, h.leaf_index
    FROM audit.concern_history AS r
    CROSS JOIN LATERAL (
        SELECT * FROM audit.concern_history AS e
        WHERE e.concern_id = r.concern_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.leaf_index DESC LIMIT 1
    ) AS h
    LEFT JOIN audit.texts AS said ON said.leaf_index = h.made_leaf_index AND said.member = 'text'
    WHERE r.version = 1 AND r.customer_id = h.customer_id
$$;
COMMENT ON FUNCTION audit.concerns_as_of IS
    'Every concern as it stood at as_of, as far as the ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.concerns AS SELECT * FROM audit.concerns_as_of();
COMMENT ON VIEW audit.concerns IS 'Every question and worry that a customer raised, and how far we have come with it, as it stands now.';
COMMENT ON COLUMN audit.concerns.concern_id IS 'The id of the concern, for ever.';
COMMENT ON COLUMN audit.concerns.customer_id IS 'Who raised it (a pseudonym).';
COMMENT ON COLUMN audit.concerns.problem_id IS 'The problem that it is about, if it is one.';
COMMENT ON COLUMN audit.concerns.state IS 'raised, acknowledged, addressed, confirmed (by the customer) or withdrawn; open is raised and acknowledged.';
COMMENT ON COLUMN audit.concerns.severity IS '1 (worst) to 4; empty where none was given.';
COMMENT ON COLUMN audit.concerns.raised_at IS 'When the customer raised it.';
COMMENT ON COLUMN audit.concerns.acknowledged_at IS 'When we said in our words what we understood, in this cycle.';
COMMENT ON COLUMN audit.concerns.addressed_at IS 'When it was addressed, in this cycle. Without acknowledged_at: before anybody had listened.';
COMMENT ON COLUMN audit.concerns.addressed_by IS 'What or who addressed it: a disclosure, a promise, a person, by id.';
COMMENT ON COLUMN audit.concerns.confirmed_at IS 'When the customer said that it is addressed, in this cycle.';
COMMENT ON COLUMN audit.concerns.withdrawn_at IS 'When the customer took it back.';
COMMENT ON COLUMN audit.concerns.days_open IS 'Days from raised_at until it was addressed or withdrawn; while it is open, until now.';
COMMENT ON COLUMN audit.concerns.text IS 'What the customer said. Empty once the customer was erased.';
COMMENT ON COLUMN audit.concerns.cycle IS 'How often it was open, from 1: a follow-up that found it not to work opens the next.';
COMMENT ON COLUMN audit.concerns.version IS 'How many events it has.';
COMMENT ON COLUMN audit.concerns.made_leaf_index IS 'The event that raised it: its index in the log, from 0.';
COMMENT ON COLUMN audit.concerns.leaf_index IS 'The event that this row comes from (the last one): its index in the log, from 0.';

CREATE OR REPLACE FUNCTION audit.concern_matrix_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    customer_id text, problem_id text, raised bigint, acknowledged bigint, addressed bigint, confirmed bigint,
    withdrawn bigint, longest_days_open float8
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        c.customer_id, c.problem_id, count(*) FILTER (WHERE c.state = 'raised'),
        count(*) FILTER (WHERE c.state = 'acknowledged'), count(*) FILTER (WHERE c.state = 'addressed'),
        count(*) FILTER (WHERE c.state = 'confirmed'), count(*) FILTER (WHERE c.state = 'withdrawn'),
        max(c.days_open) FILTER (WHERE c.state IN ('raised', 'acknowledged'))
    FROM audit.concerns_as_of(as_of, known_at) AS c
    GROUP BY c.customer_id, c.problem_id
$$;
COMMENT ON FUNCTION audit.concern_matrix_as_of IS 'As audit.concern_matrix, as of two moments like audit.concerns_as_of.';

CREATE OR REPLACE VIEW audit.concern_matrix AS SELECT * FROM audit.concern_matrix_as_of();
COMMENT ON VIEW audit.concern_matrix IS 'How many concerns stand where, for each customer and problem: each concern counts once, in its state.';
COMMENT ON COLUMN audit.concern_matrix.problem_id IS 'The problem that they are about; empty: those about none.';
COMMENT ON COLUMN audit.concern_matrix.raised IS 'Not acknowledged yet.';
COMMENT ON COLUMN audit.concern_matrix.acknowledged IS 'Acknowledged, not addressed yet.';
COMMENT ON COLUMN audit.concern_matrix.addressed IS 'Addressed, and the customer has not said that it is so.';
COMMENT ON COLUMN audit.concern_matrix.confirmed IS 'Addressed, and the customer has said so.';
COMMENT ON COLUMN audit.concern_matrix.withdrawn IS 'Taken back by the customer.';
COMMENT ON COLUMN audit.concern_matrix.longest_days_open IS 'How many days the longest-waiting open one (raised or acknowledged) has been open; empty: none is.';
