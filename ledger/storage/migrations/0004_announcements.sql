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
