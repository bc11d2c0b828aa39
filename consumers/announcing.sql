-- name: lock
-- Asked before each step of an announcer: its row is locked until the step is over, and passed over where another relay
-- is at it.
SELECT position FROM service.announcers WHERE name = %(name)s FOR UPDATE SKIP LOCKED;

-- name: announce
-- The ids of what is published before the transaction ends.
INSERT INTO service.announced (id) SELECT unnest(%(ids)s::text[]) ON CONFLICT DO NOTHING;

-- name: origin
-- Asked once: the log's name, which is the source of all announcements.
SELECT origin FROM ledger.head;
