-- name: all
-- Asked by an export of everything: the leaves under the checkpoint.
SELECT notification_id - 1 FROM ledger.events WHERE notification_id <= %(size)s ORDER BY 1;

-- name: customer
-- Asked by an export of a customer: the events that carry their id. One pass over the log: no read table is trusted here.
SELECT notification_id - 1 FROM ledger.events
WHERE notification_id <= %(size)s AND convert_from(state, 'UTF8')::json ->> 'customer_id' = %(customer)s ORDER BY 1;

-- name: from
-- Asked by an export of a time: what was recorded from the one moment on and before the other.
SELECT notification_id - 1 FROM (
    SELECT notification_id, (convert_from(state, 'UTF8')::json ->> 'recorded_at')::timestamptz AS recorded_at
    FROM ledger.events WHERE notification_id <= %(size)s
    OFFSET 0
) AS e
WHERE recorded_at >= coalesce(%(from)s, '-infinity'::timestamptz) AND recorded_at < coalesce(%(to)s, 'infinity'::timestamptz)
ORDER BY 1;

-- name: case
-- Asked by an export of a case: the whole of every stream of which an event names it. Of the streams that belong to many
-- customers (verify_pack.SHARED) only the events that name it.
WITH named AS (
    SELECT notification_id, originator_id FROM ledger.events
    WHERE notification_id <= %(size)s AND convert_from(state, 'UTF8')::json ->> 'case_id' = %(case)s
)
SELECT notification_id - 1 FROM named
UNION
SELECT notification_id - 1 FROM ledger.events
WHERE notification_id <= %(size)s AND originator_id IN (
    SELECT originator_id FROM named WHERE split_part(originator_id, ':', 1) <> ALL(%(shared)s)
)
ORDER BY 1;

-- name: promise
-- Asked by an export of a promise: its stream, and the whole of every other one of which an event names it: what was said
-- about it, follow-ups, apologies, assumptions, problems that touch it, the promise that it supersedes.
WITH named AS (
    SELECT notification_id, originator_id FROM (
        SELECT notification_id, originator_id, convert_from(state, 'UTF8')::jsonb -> 'data' AS data
        FROM ledger.events WHERE notification_id <= %(size)s
        OFFSET 0
    ) AS e
    WHERE %(promise)s IN (
        data ->> 'promise_id', data ->> 'about_promise_id', data ->> 'for_promise_id', data ->> 'superseded_by'
    ) OR data -> 'promises' ? %(promise)s
)
SELECT notification_id - 1 FROM named
UNION
SELECT notification_id - 1 FROM ledger.events
WHERE notification_id <= %(size)s AND originator_id IN (
    SELECT originator_id FROM named WHERE split_part(originator_id, ':', 1) <> ALL(%(shared)s)
)
ORDER BY 1;

-- name: streams
-- Asked by every export: how many events each of these streams has under the checkpoint.
SELECT originator_id, count(*) FROM ledger.events
WHERE originator_id = ANY(%(streams)s) AND notification_id <= %(size)s GROUP BY 1;

-- name: promise_events
-- Asked by every export: all events of its promises under the checkpoint, promise by promise.
SELECT originator_id, notification_id - 1, topic, state FROM ledger.events
WHERE originator_id = ANY(%(streams)s) AND notification_id <= %(size)s ORDER BY originator_id, originator_version;

-- name: sealed
-- Asked by every export: the sealed texts of these leaves.
SELECT leaf_index, key_version, ciphertext FROM ledger.sealed WHERE leaf_index = ANY(%(leaves)s);

-- name: newest
-- Asked by every export: the newest checkpoint, or that of a size; never one of a log that ended (see `recover anew`).
SELECT size, note FROM (
    SELECT size, note FROM ledger.checkpoints UNION ALL SELECT size, note FROM ledger.witnessed
) AS c
WHERE size = coalesce(%(size)s, size) AND starts_with(note, (SELECT origin FROM ledger.head) || E'\n')
ORDER BY size DESC LIMIT 1;

-- name: best
-- Asked by every export, once it is known what must be covered: the newest checkpoint that a timestamp authority has
-- stamped, else the newest that witnesses have cosigned. Not of a log that ended either,
-- and none from before the keys that a pack can prove.
SELECT note, response FROM (
    SELECT size, note, response FROM ledger.timestamps UNION ALL SELECT size, note, NULL FROM ledger.witnessed
) AS c
WHERE size > %(last_leaf)s AND size >= %(first)s AND size = coalesce(%(size)s, size)
    AND starts_with(note, (SELECT origin FROM ledger.head) || E'\n')
ORDER BY response IS NULL, size DESC LIMIT 1;

-- name: signed
-- Asked by every export of a log whose key was rotated: what was signed as the key changed.
SELECT note FROM ledger.checkpoints
WHERE size = %(size)s AND starts_with(note, (SELECT origin FROM ledger.head) || E'\n');
