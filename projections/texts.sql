-- name: tables
CREATE TABLE texts (
    leaf_index  bigint NOT NULL,
    customer_id text   NOT NULL,
    member      text   NOT NULL,
    text        text   NOT NULL,
    PRIMARY KEY (leaf_index, member)
);
ALTER TABLE texts ALTER COLUMN text SET STATISTICS 0; -- the planner's samples would be words outside of this table
COMMENT ON TABLE texts IS 'Personal texts in the clear: purged when their customer is erased.';

-- name: indexes
-- Asked by erasure.
CREATE INDEX texts_customer ON texts (customer_id);

-- name: grants
GRANT SELECT, DELETE ON texts TO ledger_eraser;
DO $$ BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN  -- before, only an owner may vacuum
        GRANT MAINTAIN ON texts TO ledger_eraser;
    END IF;
END $$;

-- name: views
CREATE OR REPLACE VIEW audit.texts AS SELECT leaf_index, customer_id, member, text FROM texts;
COMMENT ON VIEW audit.texts IS 'Personal texts that may still be read, one row a text. Erased ones have no row.';
COMMENT ON COLUMN audit.texts.leaf_index IS 'The event that the text belongs to: its index in the log, from 0.';
COMMENT ON COLUMN audit.texts.customer_id IS 'Whose text it is.';
COMMENT ON COLUMN audit.texts.member IS 'What the text is in that event: text, reason, condition_text, correction …';
COMMENT ON COLUMN audit.texts.text IS 'The words.';

-- name: versions
-- Asked by purge: waits for the batches in flight.
SELECT number FROM projection.versions WHERE name = 'texts' FOR UPDATE;

-- name: purge
DELETE FROM texts WHERE customer_id = %(customer_id)s;

-- name: left
-- Asked by the eraser at its start: whose texts a restored backup has brought back.
SELECT DISTINCT customer_id FROM texts WHERE customer_id = ANY(string_to_array(%(customers)s, ' '));

-- name: unlocked_versions
-- Asked by the eraser when it scrubs.
SELECT number FROM projection.versions WHERE name = 'texts';

-- name: scrub
VACUUM (FULL) {table};
