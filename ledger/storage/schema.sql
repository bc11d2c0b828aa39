-- The schema as all migrations together make it: read this one, `migrations/` is how it came about. A test compares.

-- The log of one promise ledger: what was recorded (events), what it answers for (inbox, sealed texts, customer keys),
-- and the tree that commits to it (head, tiles, checkpoints). Ids are ASCII, so they sort as bytes ("C"), whatever the
-- cluster's locale: the fastest order, and the same on every machine.

CREATE SCHEMA ledger;
COMMENT ON SCHEMA ledger IS 'The write side: events, their hash tree and what belongs to them. Written by the appender alone.';

-- Asked for by every append, FOR UPDATE: the row is the lock that puts all appends of this log in one order.
CREATE TABLE ledger.head (
    log         boolean     PRIMARY KEY DEFAULT true CHECK (log),
    origin      text        NOT NULL,
    size        bigint      NOT NULL CHECK (size >= 0),
    frontier    bytea       NOT NULL CHECK (octet_length(frontier) % 32 = 0),
    recorded_at timestamptz NOT NULL
);
COMMENT ON TABLE ledger.head IS 'One row: how many events the log holds and the hashes of its complete subtrees, largest first.';

-- The columns are those of eventsourcing's recorder; notification_id is leaf_index + 1, so neither has a gap.
CREATE TABLE ledger.events (
    notification_id    bigint NOT NULL PRIMARY KEY CHECK (notification_id >= 1),
    originator_id      text   COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL,
    topic              text   NOT NULL,
    state              bytea  NOT NULL CHECK (octet_length(state) <= 65535),
    leaf_hash          bytea  NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
ALTER TABLE ledger.events ALTER COLUMN state SET STORAGE MAIN;
CREATE UNIQUE INDEX events_stream ON ledger.events (originator_id, originator_version);
COMMENT ON TABLE ledger.events IS 'Every event; state holds the entry bytes exactly as hashed, leaf_hash what they hashed to.';

-- One row for every (source, id) with every content seen under it; the one with the lowest leaf_index is the original.
CREATE TABLE ledger.inbox (
    source      text     COLLATE "C" NOT NULL,
    command_id  text     COLLATE "C" NOT NULL,
    digest      bytea    NOT NULL CHECK (octet_length(digest) = 32),
    leaf_index  bigint   NOT NULL,
    events      smallint NOT NULL CHECK (events > 0),
    PRIMARY KEY (source, command_id, digest)
);
COMMENT ON TABLE ledger.inbox IS 'Which command became which events: leaf_index is the first of them, events their number.';

-- r and the personal members of one event, encrypted under the customer''s data key; beside the log, so it can be destroyed.
CREATE TABLE ledger.sealed (
    leaf_index  bigint  NOT NULL PRIMARY KEY,
    customer_id text    COLLATE "C" NOT NULL,
    key_version integer NOT NULL,
    ciphertext  bytea   NOT NULL
);
CREATE INDEX sealed_customer ON ledger.sealed (customer_id);
COMMENT ON TABLE ledger.sealed IS 'Personal texts, sealed. Deleting a row leaves every proof of the log intact.';

-- A destroyed key keeps its row, so that an erased customer is told apart from an unknown one.
CREATE TABLE ledger.customer_keys (
    customer_id  text        COLLATE "C" NOT NULL,
    key_version  integer     NOT NULL CHECK (key_version >= 1),
    wrapped      bytea,
    created_at   timestamptz NOT NULL,
    destroyed_at timestamptz,
    PRIMARY KEY (customer_id, key_version),
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
COMMENT ON TABLE ledger.customer_keys IS 'Data keys, one a customer and incarnation, wrapped by a key that is not in this database.';

-- Full tiles only: 256 hashes. The right edge is recomputed from the events, never stored.
CREATE TABLE ledger.tiles (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index  bigint   NOT NULL CHECK (index >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE ledger.tiles IS 'Full tiles of the hash tree (c2sp.org/tlog-tiles, height 8).';

-- At most one a second is kept; a receipt carries its own. Those of a log that ended stay, and the one that goes on from it
-- (`recover anew`) comes to the same sizes once more: a size has one row for each origin, the first line of the note.
CREATE TABLE ledger.checkpoints (
    size      bigint      NOT NULL CHECK (size >= 0),
    note      text        NOT NULL,
    stored_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX checkpoints_of_a_log ON ledger.checkpoints (size, split_part(note, chr(10), 1) COLLATE "C");
COMMENT ON TABLE ledger.checkpoints IS 'Signed checkpoints (c2sp.org/tlog-checkpoint), written after the commit that they cover.';

-- Append-only, whoever asks: UPDATE, DELETE and TRUNCATE of evidence raise.
CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger.% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Record a new event instead.';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.inbox
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.tiles
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What is no event of its own and yet evidence: the head is moved and never removed; a sealed text is destroyed by an
-- erasure and never altered; a customer's key is destroyed by an erasure and its row stays, to say so.

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON ledger.sealed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.customer_keys
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Checkpoints with the cosignatures of witnesses, stored once the quorum of the policy was met: what may be published.
CREATE TABLE ledger.witnessed (
    size      bigint      NOT NULL CHECK (size >= 0),
    note      text        NOT NULL,
    stored_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX witnessed_of_a_log ON ledger.witnessed (size, split_part(note, chr(10), 1) COLLATE "C");
COMMENT ON TABLE ledger.witnessed IS 'Checkpoints that enough witnesses have cosigned (c2sp.org/tlog-cosignature).';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.witnessed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Checkpoints stamped by a timestamp authority (RFC 3161): the whole response, and the checkpoint that it is for.
CREATE TABLE ledger.timestamps (
    size      bigint      NOT NULL CHECK (size > 0),
    note      text        NOT NULL,
    response  bytea       NOT NULL CHECK (octet_length(response) <= 65536),
    stored_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX timestamps_of_a_log ON ledger.timestamps (size, split_part(note, chr(10), 1) COLLATE "C");
COMMENT ON TABLE ledger.timestamps IS 'RFC 3161 timestamps: somebody else''s clock says that the log was this long by then.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- The head is authenticated under a key that is not in the database: whoever appends by hand cannot write it, and what
-- they appended is never signed.
ALTER TABLE ledger.head ADD COLUMN mac bytea CHECK (octet_length(mac) = 32);
COMMENT ON COLUMN ledger.head.mac IS 'HMAC-SHA-256 over size, recorded_at and frontier; empty before the first append.';

-- What the running parts say of themselves, for health and metrics. No evidence: it says nothing about customers.

CREATE SCHEMA service;
COMMENT ON SCHEMA service IS 'Operations: heartbeats of the running parts. Overwritten all the time, proves nothing.';

-- One row a part: written each second by the part, read by /health, /metrics and `promise-ledger health`.
CREATE TABLE service.heartbeat (
    part   text        NOT NULL PRIMARY KEY,
    at     timestamptz NOT NULL,
    detail jsonb       NOT NULL
);
COMMENT ON TABLE service.heartbeat IS 'When each part was last seen at work, and what it said.';

-- What was published on the queue, so that a restart goes on where it stopped. No evidence: the log says what is so.

-- One row an announcer, which is also its lock: two relays take turns.
CREATE TABLE service.announcers (
    name     text        NOT NULL PRIMARY KEY,
    position bigint      NOT NULL DEFAULT 0,
    version  integer     NOT NULL DEFAULT 0,
    horizon  timestamptz
);
COMMENT ON TABLE service.announcers IS 'How far each announcer has come; moved in the transaction that ends once the queue has it.';
COMMENT ON COLUMN service.announcers.position IS 'Leaves published; of findings, leaves that the read tables had when all was announced.';
COMMENT ON COLUMN service.announcers.version IS 'The version of the read tables that was looked at: of another one everything is looked at.';
COMMENT ON COLUMN service.announcers.horizon IS 'The moment up to which all was announced. Empty: none yet.';
INSERT INTO service.announcers (name) VALUES ('events'), ('findings'), ('escalations');

-- Asked before anything is announced that time brings about.
CREATE TABLE service.announced (
    id text COLLATE "C" NOT NULL PRIMARY KEY
);
COMMENT ON TABLE service.announced IS 'Ids of the announced findings and escalations: each is announced once, also after a rebuild.';
