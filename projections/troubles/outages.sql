-- name: tables
CREATE TABLE outage_history (
    leaf_index  bigint      NOT NULL PRIMARY KEY,
    outage_id   text        NOT NULL,
    type        text        NOT NULL,
    tool        text,
    capture_id  text,
    customer_id text,
    captured_at timestamptz,
    read_back   boolean,
    became      text[],
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    case_id     text
);
COMMENT ON TABLE outage_history IS 'One row an event of an outage or of its notes: facts, which no later event changes.';

-- name: indexes
-- Asked by "what is left on this outage's list".
CREATE INDEX outage_history_outage ON outage_history (outage_id, capture_id, type);
CREATE INDEX outage_history_customer ON outage_history (customer_id) WHERE type = 'note.taken';

-- name: views
CREATE OR REPLACE VIEW audit.outage_history AS
SELECT
    leaf_index, outage_id, type, occurred_at, recorded_at, actor, source, tool, capture_id, customer_id, captured_at,
    read_back, became, case_id
FROM outage_history;
COMMENT ON VIEW audit.outage_history IS 'Every event of every outage and of the notes taken meanwhile.';
COMMENT ON COLUMN audit.outage_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.outage_history.type IS 'What happened: outage.declared, note.taken, note.cleared …';
COMMENT ON COLUMN audit.outage_history.tool IS 'What was down, where the event declares it.';
COMMENT ON COLUMN audit.outage_history.capture_id IS 'The note, where the event is about one.';
COMMENT ON COLUMN audit.outage_history.customer_id IS 'Whose note it is (a pseudonym).';
COMMENT ON COLUMN audit.outage_history.case_id IS 'The case that the event belongs to.';

CREATE OR REPLACE FUNCTION audit.outage_notes_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    outage_id text, capture_id text, customer_id text, captured_at timestamptz, taken_by text, read_back boolean,
    text text, cleared_at timestamptz, became text[], followed_up_at timestamptz, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        t.outage_id, t.capture_id, t.customer_id, t.captured_at, t.actor, t.read_back, said.text, c.occurred_at,
        c.became, f.occurred_at, t.leaf_index
    FROM audit.outage_history AS t
    LEFT JOIN audit.outage_history AS c
        ON c.outage_id = t.outage_id AND c.capture_id = t.capture_id AND c.type = 'note.cleared'
        AND c.occurred_at <= coalesce(as_of, 'infinity') AND c.recorded_at <= coalesce(known_at, 'infinity')
    LEFT JOIN audit.outage_history AS f
        ON f.outage_id = t.outage_id AND f.capture_id = t.capture_id AND f.type = 'note.followed_up'
        AND f.occurred_at <= coalesce(as_of, 'infinity') AND f.recorded_at <= coalesce(known_at, 'infinity')
    LEFT JOIN audit.texts AS said ON said.leaf_index = t.leaf_index AND said.member = 'text'
    WHERE t.type = 'note.taken'
      AND t.occurred_at <= coalesce(as_of, 'infinity') AND t.recorded_at <= coalesce(known_at, 'infinity')
$$;
COMMENT ON FUNCTION audit.outage_notes_as_of IS
    'The notes that had been taken by as_of and were recorded by known_at, with what had become of them by then; either may '
    'be left out.';

CREATE OR REPLACE VIEW audit.outage_notes AS SELECT * FROM audit.outage_notes_as_of();
COMMENT ON VIEW audit.outage_notes IS 'The list of every outage: what customers said while our tools were down, and what became of it.';
COMMENT ON COLUMN audit.outage_notes.outage_id IS 'The outage in which it was taken.';
COMMENT ON COLUMN audit.outage_notes.capture_id IS 'The id of the note, for ever.';
COMMENT ON COLUMN audit.outage_notes.customer_id IS 'Whose note it is (a pseudonym).';
COMMENT ON COLUMN audit.outage_notes.captured_at IS 'When it was written down, beside the tools.';
COMMENT ON COLUMN audit.outage_notes.taken_by IS 'Who wrote it down: a person, team or service, by id.';
COMMENT ON COLUMN audit.outage_notes.read_back IS 'The customer heard what was written.';
COMMENT ON COLUMN audit.outage_notes.text IS 'What was written. Empty once the customer was erased.';
COMMENT ON COLUMN audit.outage_notes.cleared_at IS 'When it was entered as what it became. Empty: left to clear.';
COMMENT ON COLUMN audit.outage_notes.became IS 'What it became: promises, concerns, disclosures, by id.';
COMMENT ON COLUMN audit.outage_notes.followed_up_at IS 'When the customer was gone back to about it. Empty: left to do.';
COMMENT ON COLUMN audit.outage_notes.leaf_index IS 'The event that put it on the list: its index in the log, from 0.';

CREATE OR REPLACE FUNCTION audit.outages_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    outage_id text, tool text, declared_at timestamptz, declared_by text, ended_at timestamptz, notes bigint,
    notes_to_clear bigint, customers_to_follow_up bigint, waiting_since timestamptz, list_done boolean, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        d.outage_id, d.tool, d.occurred_at, d.actor, e.occurred_at, n.notes, n.to_clear, n.to_follow_up, n.waiting_since,
        e.occurred_at IS NOT NULL AND n.to_clear = 0 AND n.to_follow_up = 0, d.leaf_index
    FROM audit.outage_history AS d
    LEFT JOIN audit.outage_history AS e
        ON e.outage_id = d.outage_id AND e.type = 'outage.ended'
        AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS notes, count(*) FILTER (WHERE cleared_at IS NULL) AS to_clear,
            count(DISTINCT customer_id) FILTER (WHERE followed_up_at IS NULL) AS to_follow_up,
            min(captured_at) FILTER (WHERE cleared_at IS NULL OR followed_up_at IS NULL) AS waiting_since
        FROM audit.outage_notes_as_of(as_of, known_at) AS o WHERE o.outage_id = d.outage_id
    ) AS n
    WHERE d.type = 'outage.declared'
      AND d.occurred_at <= coalesce(as_of, 'infinity') AND d.recorded_at <= coalesce(known_at, 'infinity')
$$;
COMMENT ON FUNCTION audit.outages_as_of IS
    'Every outage and the two counters of its list at as_of, as far as the ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.outages AS SELECT * FROM audit.outages_as_of();
COMMENT ON VIEW audit.outages IS 'Every outage of our tools, and the two counters of its list: done at two zeroes only.';
COMMENT ON COLUMN audit.outages.outage_id IS 'The id of the outage, for ever.';
COMMENT ON COLUMN audit.outages.tool IS 'What was down.';
COMMENT ON COLUMN audit.outages.declared_at IS 'Since when.';
COMMENT ON COLUMN audit.outages.declared_by IS 'Who declared it: a person, team or service, by id.';
COMMENT ON COLUMN audit.outages.ended_at IS 'Until when; empty while it lasts.';
COMMENT ON COLUMN audit.outages.notes IS 'How many notes were taken in it.';
COMMENT ON COLUMN audit.outages.notes_to_clear IS 'First counter: notes that were not entered yet as what they became.';
COMMENT ON COLUMN audit.outages.customers_to_follow_up IS 'Second counter: customers to go back to.';
COMMENT ON COLUMN audit.outages.waiting_since IS 'When the oldest note was written down that waits for either; empty: none does.';
COMMENT ON COLUMN audit.outages.list_done IS 'It has ended and both counters are zero. A note that arrives later opens the list again.';
COMMENT ON COLUMN audit.outages.leaf_index IS 'The event that declared it: its index in the log, from 0.';
