-- name: tables
CREATE TABLE timeline (
    leaf_index  bigint      NOT NULL PRIMARY KEY,
    customer_id text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    type        text        NOT NULL,
    stream      text        NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    case_id     text
);
COMMENT ON TABLE timeline IS 'One row an event of a customer: which, and where it stands in the log.';

-- name: indexes
-- Asked by "what happened with this customer".
CREATE INDEX timeline_customer ON timeline (customer_id, leaf_index);

-- name: views
CREATE OR REPLACE VIEW audit.customer_timeline AS
SELECT
    l.leaf_index, l.customer_id, l.occurred_at, l.recorded_at, l.type, l.stream, l.actor, l.source, l.case_id,
    e.entry -> 'data' AS data, e.entry ? 'personal' AS has_words,
    (SELECT jsonb_object_agg(t.member, t.text) FROM audit.texts AS t WHERE t.leaf_index = l.leaf_index) AS words
FROM timeline AS l
LEFT JOIN LATERAL (
    SELECT convert_from(state, 'UTF8')::jsonb AS entry FROM ledger.events WHERE notification_id = l.leaf_index + 1
) AS e ON true;
COMMENT ON VIEW audit.customer_timeline IS
    'Everything on record about a customer: what was promised, said, raised, done, one row an event in the order of the log.';
COMMENT ON COLUMN audit.customer_timeline.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.customer_timeline.customer_id IS 'The customer (a pseudonym).';
COMMENT ON COLUMN audit.customer_timeline.occurred_at IS 'When it happened, as the source says.';
COMMENT ON COLUMN audit.customer_timeline.recorded_at IS 'When the ledger wrote it down; never decreasing.';
COMMENT ON COLUMN audit.customer_timeline.type IS 'What happened: promise.made, disclosure.made, concern.raised …';
COMMENT ON COLUMN audit.customer_timeline.stream IS 'What it happened to: promise:P-1, disclosure:D-1 …';
COMMENT ON COLUMN audit.customer_timeline.actor IS 'Who acted: a person, team or service, by id.';
COMMENT ON COLUMN audit.customer_timeline.source IS 'The backend service that reported it.';
COMMENT ON COLUMN audit.customer_timeline.case_id IS 'The case that it belongs to.';
COMMENT ON COLUMN audit.customer_timeline.data IS 'What the event says that is not personal, read from the log itself.';
COMMENT ON COLUMN audit.customer_timeline.has_words IS 'The event was recorded with personal texts; where words is empty, they were erased.';
COMMENT ON COLUMN audit.customer_timeline.words IS 'The personal texts of the event by member. Empty where it has none, or once erased.';
