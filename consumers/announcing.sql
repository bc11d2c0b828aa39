-- name: lock
-- Asked before each step of an announcer: its row is locked until the step is over, and passed over where another relay
-- is at it. Beside it the log's name: `recover anew` gives it another one, while relays may run.
SELECT position, (SELECT origin FROM ledger.head) AS origin FROM service.announcers WHERE name = %(name)s FOR UPDATE SKIP LOCKED;

-- name: announce
-- The ids of what is published before the transaction ends.
INSERT INTO service.announced (id) SELECT unnest(%(ids)s::text[]) ON CONFLICT DO NOTHING;

-- name: known
-- Asked by who announces from read tables: which version is live, how many leaves it has, and up to which moment that is
-- enough: to the recording of the first event that it does not have yet. Beside it, what of that was announced before.
SELECT
    v.number AS version, v.position,
    least(%(now)s, (convert_from(e.state, 'UTF8')::json ->> 'recorded_at')::timestamptz) AS horizon,
    a.version = v.number AS same_version, a.position AS old_position, coalesce(a.horizon, '-infinity')::text AS old_horizon
FROM projection.versions AS v
LEFT JOIN ledger.events AS e ON e.notification_id = v.position + 1
LEFT JOIN service.announcers AS a ON a.name = v.name
WHERE v.name = %(name)s AND v.live;

-- name: origin
-- Asked at start: the log's name, which is the source of all announcements.
SELECT origin FROM ledger.head;
