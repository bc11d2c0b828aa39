-- name: lock_head
-- Asked by every append, first: waits for the append before it, and is the only lock there is.
SELECT size, frontier, recorded_at FROM ledger.head FOR UPDATE;

-- name: begin_log
-- Asked by migrate, once: the log exists from here on, empty.
INSERT INTO ledger.head (origin, size, frontier, recorded_at) VALUES (%(origin)s, 0, '', %(recorded_at)s)
ON CONFLICT DO NOTHING;

-- name: read_head
-- Asked at start, by verify and by proofs: no lock.
SELECT size, frontier, recorded_at, origin FROM ledger.head;

-- name: move_head
-- The last write of an append: the log is this long now.
UPDATE ledger.head SET size = %(size)s, frontier = %(frontier)s, recorded_at = %(recorded_at)s;

-- name: known_commands
-- Asked by every append: which of these (source, id) were seen before, oldest content first. Lists come as one string
-- with spaces, which no id has: psycopg would turn a list into an array one element at a time.
SELECT i.source, i.command_id, i.digest, i.leaf_index, i.events
FROM unnest(string_to_array(%(sources)s, ' '), string_to_array(%(ids)s, ' ')) AS asked(source, command_id)
JOIN ledger.inbox AS i USING (source, command_id)
ORDER BY i.leaf_index;

-- name: streams
-- Asked by every append for the streams that its commands name and the cache does not hold.
SELECT notification_id, originator_id, topic, state FROM ledger.events
WHERE originator_id = ANY(string_to_array(%(streams)s, ' ')) ORDER BY notification_id;

-- name: stream_version
-- Asked before a refusal is written: refusals of one source are many, so only the last version is read.
SELECT originator_version FROM ledger.events WHERE originator_id = %(stream)s ORDER BY originator_version DESC LIMIT 1;

-- name: customer_keys
-- Asked by every append for customers whose data key is not cached; the newest incarnation last.
SELECT customer_id, key_version, wrapped, destroyed_at FROM ledger.customer_keys
WHERE customer_id = ANY(string_to_array(%(customers)s, ' ')) ORDER BY customer_id, key_version;

-- name: entries
-- Asked for redelivered commands and by readers of a range: the stored bytes of these leaves.
SELECT notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE notification_id = ANY(%(ids)s::bigint[]) ORDER BY notification_id;

-- name: range
-- Asked by proofs, readers and verify: leaves from first (inclusive) to stop (exclusive).
SELECT notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE notification_id > %(first)s AND notification_id <= %(stop)s ORDER BY notification_id;

-- name: sealed
-- Asked by whoever may read texts: the sealed rows of a range of leaves.
SELECT leaf_index, customer_id, key_version, ciphertext FROM ledger.sealed
WHERE leaf_index >= %(first)s AND leaf_index < %(stop)s ORDER BY leaf_index;

-- name: tile
-- Asked by proofs: one full tile.
SELECT hashes FROM ledger.tiles WHERE level = %(level)s AND index = %(index)s;

-- name: store_checkpoint
-- Asked after a checkpoint was signed, at most once a second.
INSERT INTO ledger.checkpoints (size, note, stored_at) VALUES (%(size)s, %(note)s, %(stored_at)s)
ON CONFLICT (size) DO NOTHING;

-- name: last_checkpoint
-- Asked by the CLI and the read side.
SELECT size, note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1;

-- name: all_checkpoints
-- Asked by verify.
SELECT size, note FROM ledger.checkpoints ORDER BY size;

-- name: range_events
-- Asked by verify: leaves from first (inclusive) to stop (exclusive), with the columns that repeat the entry.
SELECT notification_id - 1, originator_id, originator_version, topic, state, leaf_hash FROM ledger.events
WHERE notification_id > %(first)s AND notification_id <= %(stop)s ORDER BY notification_id;

-- name: inbox_stripe
-- Asked by verify: the commands whose events touch every stripes-th range of leaves, in the order of the log.
SELECT source, command_id, digest, leaf_index, events FROM ledger.inbox
WHERE leaf_index / %(range)s %% %(stripes)s = %(stripe)s
   OR (leaf_index + events - 1) / %(range)s %% %(stripes)s = %(stripe)s
ORDER BY leaf_index;

-- name: level_tiles
-- Asked by verify: the stored tiles of one level in order.
SELECT index, hashes FROM ledger.tiles WHERE level = %(level)s ORDER BY index;

-- name: strays
-- Asked by verify: rows at leaves that the log does not have.
(SELECT 'events', notification_id - 1 FROM ledger.events
 WHERE notification_id < 1 OR notification_id > %(size)s ORDER BY notification_id LIMIT 1)
UNION ALL
(SELECT 'inbox', leaf_index FROM ledger.inbox
 WHERE leaf_index < 0 OR leaf_index + events > %(size)s ORDER BY leaf_index LIMIT 1)
UNION ALL
(SELECT 'sealed', leaf_index FROM ledger.sealed
 WHERE leaf_index < 0 OR leaf_index >= %(size)s ORDER BY leaf_index LIMIT 1);

-- name: spare_keys
-- Asked by verify: keys that no sealed text needs.
SELECT customer_id, key_version, wrapped, destroyed_at FROM ledger.customer_keys AS k
WHERE NOT EXISTS (
    SELECT FROM ledger.sealed AS s WHERE s.customer_id = k.customer_id AND s.key_version = k.key_version
)
ORDER BY customer_id, key_version;
