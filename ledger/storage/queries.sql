-- name: lock_head
-- Asked by every append, first: waits for the append before it, and is the only lock there is.
SELECT size, frontier, recorded_at, mac FROM ledger.head FOR UPDATE;

-- name: begin_log
-- Asked by migrate, once: the log exists from here on, empty.
INSERT INTO ledger.head (origin, size, frontier, recorded_at) VALUES (%(origin)s, 0, '', %(recorded_at)s)
ON CONFLICT DO NOTHING;

-- name: read_head
-- Asked at start, by verify, by proofs, and by an append once others have moved the head: no lock.
SELECT size, frontier, recorded_at, origin, mac FROM ledger.head;

-- name: stored_size
-- Asked at start: how many events there are, where none is missing, and what the head says at that very moment.
SELECT coalesce(max(notification_id), 0), (SELECT size FROM ledger.head) FROM ledger.events;

-- name: dense_size
-- Asked by recoveries: how many events there are from the first one on without a gap.
SELECT coalesce(max(number), 0) FROM (
    SELECT notification_id AS number, row_number() OVER (ORDER BY notification_id) AS place FROM ledger.events
) AS e WHERE number = place;

-- name: recoveries
-- Asked by verify, readers and recoveries: the stream `log`, in order.
SELECT notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE originator_id = 'log' ORDER BY originator_version;

-- name: beyond
-- Asked by recoveries: events that stand behind a gap in the log.
SELECT notification_id - 1 AS leaf_index, state FROM ledger.events
WHERE notification_id > %(size)s ORDER BY notification_id;

-- name: inbox_beyond
-- Asked by recoveries: commands whose events reach behind leaf `size` and that are in the inbox all the same.
SELECT source, command_id, digest FROM ledger.inbox WHERE leaf_index + events > %(size)s;

-- name: sealed_beyond
-- Asked by recoveries: texts that are there though their events are not.
SELECT leaf_index FROM ledger.sealed WHERE leaf_index >= %(size)s;

-- name: left_behind
-- Asked by `recover anew`: rows of events behind the first `size` ones, which somebody cut off without them.
SELECT
    (SELECT count(*) FROM ledger.inbox WHERE leaf_index + events > %(size)s) AS commands,
    (SELECT count(*) FROM ledger.sealed WHERE leaf_index >= %(size)s) AS texts,
    (SELECT count(*) FROM ledger.tiles WHERE (index + 1) * 256::numeric ^ (level + 1) > %(size)s) AS tiles;

-- name: tiles_there
-- Asked by recoveries.
SELECT level, index FROM ledger.tiles;

-- name: known_customers
-- Asked by recoveries: which of the customers have a key, destroyed or not.
SELECT DISTINCT customer_id FROM ledger.customer_keys
WHERE customer_id = ANY(string_to_array(%(customers)s, ' '));

-- name: bury_key
-- Asked by recoveries: the key of a customer whose erasure is in the log was destroyed, though no copy of it is here.
INSERT INTO ledger.customer_keys (customer_id, key_version, wrapped, created_at, destroyed_at)
VALUES (%(customer_id)s, 1, NULL, %(requested_at)s, %(requested_at)s);

-- name: rename_log
-- Asked by `recover anew`, and where the events that it made are brought back; as the owner.
UPDATE ledger.head SET origin = %(origin)s;

-- name: announce_again
-- Asked by `recover anew`: nothing that is no longer here counts as announced.
UPDATE service.announcers SET position = least(position, %(size)s);

-- name: at_work
-- Asked by recoveries: the writing parts that were seen at work within the last seconds. Seen in the future means before
-- the clock was set back: whoever is at work has said so again.
SELECT part, extract(epoch FROM now() - at)::float8 FROM service.heartbeat
WHERE part IN ('intake', 'timer', 'eraser') AND at > now() - interval '5 seconds' AND at < now() + interval '5 seconds'
ORDER BY part;

-- name: move_head
-- The last write of an append: the log is this long now.
UPDATE ledger.head SET size = %(size)s, frontier = %(frontier)s, recorded_at = %(recorded_at)s, mac = %(mac)s;

-- name: known_commands
-- Asked by every append: which of these (source, id) were seen before, oldest content first. Lists come as one string
-- with spaces, which no id has: psycopg would turn a list into an array one element at a time.
SELECT i.source, i.command_id, i.digest, i.leaf_index, i.events
FROM unnest(string_to_array(%(sources)s, ' '), string_to_array(%(ids)s, ' ')) AS asked(source, command_id)
JOIN ledger.inbox AS i USING (source, command_id)
ORDER BY i.leaf_index;

-- name: streams
-- Asked by every append for the streams that its commands name and the cache does not hold.
SELECT notification_id - 1 AS leaf_index, originator_id, topic, state FROM ledger.events
WHERE originator_id = ANY(string_to_array(%(streams)s, ' ')) ORDER BY notification_id;

-- name: stream_version
-- Asked before a refusal is written: refusals of one source are many, so only the last version is read.
SELECT originator_version FROM ledger.events WHERE originator_id = %(stream)s ORDER BY originator_version DESC LIMIT 1;

-- name: customer_keys
-- Asked by every append for customers whose data key is not cached, and by readers; the newest incarnation last, and
-- since when the customer's erasure is in effect, whether or not it has come to the key yet.
SELECT k.customer_id, k.key_version, k.wrapped, k.destroyed_at, r.requested_at
FROM ledger.customer_keys AS k
LEFT JOIN LATERAL (
    SELECT (convert_from(state, 'UTF8')::json ->> 'recorded_at')::timestamptz AS requested_at
    FROM ledger.events WHERE originator_id = 'erasure:' || k.customer_id AND topic = 'subject.erasure_requested'
) AS r ON true
WHERE k.customer_id = ANY(string_to_array(%(customers)s, ' ')) ORDER BY k.customer_id, k.key_version;

-- name: stored_keys
-- Asked by verify: keys as they are stored, the newest incarnation last.
SELECT customer_id, key_version, wrapped, destroyed_at FROM ledger.customer_keys
WHERE customer_id = ANY(string_to_array(%(customers)s, ' ')) ORDER BY customer_id, key_version;

-- name: erasures
-- Asked by verify and by the eraser: the events of all streams `erasure:…`, in the order of the log. ";" follows ":", so
-- these streams are one stretch of the index.
SELECT notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE originator_id >= 'erasure:' AND originator_id < 'erasure;' ORDER BY notification_id;

-- name: erasures_since
-- Asked by the eraser when the log has grown: streams of erasures with events from leaf `first` on.
SELECT count(*) FROM ledger.events
WHERE notification_id > %(first)s AND originator_id >= 'erasure:' AND originator_id < 'erasure;';

-- name: undestroyed
-- Asked by the eraser: those of the customers of whom a key or a sealed text is there (still, or again).
SELECT customer_id FROM ledger.customer_keys
WHERE customer_id = ANY(string_to_array(%(customers)s, ' ')) AND wrapped IS NOT NULL
UNION
SELECT customer_id FROM ledger.sealed WHERE customer_id = ANY(string_to_array(%(customers)s, ' '));

-- name: destroy_keys
-- Asked by the eraser (role ledger_eraser), with the next one in one transaction. The moment is that of the request, so
-- that it can be checked against the log, and so that destroying again changes nothing.
UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = %(requested_at)s
WHERE customer_id = %(customer_id)s AND (wrapped IS NOT NULL OR destroyed_at <> %(requested_at)s);

-- name: destroy_sealed
-- Asked by the eraser.
DELETE FROM ledger.sealed WHERE customer_id = %(customer_id)s;

-- name: destroyed_keys
-- Asked by the eraser afterwards, for its account.
SELECT count(*) FROM ledger.customer_keys WHERE customer_id = %(customer_id)s AND wrapped IS NULL;

-- name: traces
-- Asked by the eraser, one pass over the log for all customers at hand: the streams of each, and how many of their
-- events had words. The bytes are canonical, so the customer stands where it is looked for (and is an id, without
-- quotes): parsing every entry would take eight times as long.
SELECT customer_id, originator_id, count(*) FILTER (WHERE convert_from(state, 'UTF8')::jsonb ? 'personal') AS texts
FROM (
    SELECT split_part(split_part(convert_from(state, 'UTF8'), '"customer_id":"', 2), '"', 1) AS customer_id,
        originator_id, state
    FROM ledger.events WHERE notification_id <= %(stop)s
    OFFSET 0
) AS e
WHERE customer_id = ANY(string_to_array(%(customers)s, ' '))
GROUP BY 1, 2;

-- name: try_turn_of_session
-- Asked by `migrate`, rebuilds and checks, once and again until it is theirs.
SELECT pg_try_advisory_lock(hashtext(%(name)s));

-- name: await_turn_of_session
-- Asked by them after a few seconds, and by the eraser before each round.
SELECT pg_advisory_lock(hashtext(%(name)s));

-- name: end_turn_of_session
SELECT pg_advisory_unlock(hashtext(%(name)s));

-- name: try_turn_of_transaction
-- Asked by whoever makes or switches versions of read tables.
SELECT pg_try_advisory_xact_lock(hashtext(%(name)s));

-- name: await_turn_of_transaction
SELECT pg_advisory_xact_lock(hashtext(%(name)s));

-- name: turn_holders
-- Asked by who waits for a lock: who holds it. A bigint is stored as two halves there. Of other users' sessions
-- PostgreSQL tells only some since when they are connected.
SELECT l.pid, a.usename, a.application_name,
    to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.classid::bigint << 32 | l.objid::bigint = hashtext(%(name)s)
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: scrub_keys
-- Asked by the eraser, outside of transactions: a changed row leaves its old bytes, and these are the wrapped key.
VACUUM (FULL) ledger.customer_keys;

-- name: transaction
-- Asked by the eraser after it destroyed something: a transaction that began later.
SELECT pg_current_xact_id()::xid::text;

-- name: freeze_keys
-- Asked by the eraser, outside of transactions: relfrozenxid becomes the oldest transaction that may still look.
VACUUM (FREEZE) ledger.customer_keys;

-- name: still_seen
-- Asked by the eraser after that: which of the transactions `destroyed` VACUUM keeps rows for that were deleted before,
-- because one that began earlier may still look at them. relfrozenxid is what it went by.
SELECT destroyed FROM unnest(string_to_array(%(destroyed)s, ' ')) AS destroyed, pg_catalog.pg_class
WHERE oid = 'ledger.customer_keys'::regclass AND age(relfrozenxid) > age(destroyed::xid);

-- name: scrub_sealed
-- The same for sealed texts: nobody can open them without the key, so their space is only freed, and nobody waits.
VACUUM ledger.sealed;

-- name: customers_with_keys
-- Asked by the eraser where a dead letter names nobody whom it erases: it stays if it names one of these.
SELECT DISTINCT customer_id FROM ledger.customer_keys;

-- name: all_keys
-- Asked by the rotation of the key-encryption key, under the head lock.
SELECT customer_id, key_version, wrapped FROM ledger.customer_keys WHERE wrapped IS NOT NULL;

-- name: some_keys
-- Asked at start: a few data keys in use.
SELECT customer_id, key_version, wrapped
FROM (SELECT * FROM ledger.customer_keys WHERE wrapped IS NOT NULL LIMIT 64) AS k
WHERE NOT EXISTS (
    SELECT FROM ledger.events WHERE originator_id = 'erasure:' || k.customer_id AND topic = 'subject.erasure_requested'
);

-- name: rewrap_key
-- Asked by the rotation.
UPDATE ledger.customer_keys SET wrapped = %(wrapped)s
WHERE customer_id = %(customer_id)s AND key_version = %(key_version)s AND wrapped IS NOT NULL;

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
ON CONFLICT DO NOTHING;

-- name: last_checkpoint
-- Asked by the CLI and the read side. Those of a log that ended stay in the table (see `recover anew`).
SELECT size, note FROM ledger.checkpoints
WHERE starts_with(note, (SELECT origin FROM ledger.head) || E'\n') ORDER BY size DESC LIMIT 1;

-- name: store_witnessed
-- Asked once the quorum is met. Two collectors at once store one note; both have met the quorum.
INSERT INTO ledger.witnessed (size, note, stored_at) VALUES (%(size)s, %(note)s, %(stored_at)s)
ON CONFLICT DO NOTHING;

-- name: last_witnessed
-- Asked by repeated receipts.
SELECT size, note, stored_at FROM ledger.witnessed
WHERE starts_with(note, (SELECT origin FROM ledger.head) || E'\n') ORDER BY size DESC LIMIT 1;

-- name: newest_witnessed
-- Asked by whoever publishes and proves: a row that is not cosigned as the policy wants is passed over, and so are those
-- of a log that ended.
SELECT note FROM ledger.witnessed
WHERE starts_with(note, (SELECT origin FROM ledger.head) || E'\n') ORDER BY size DESC LIMIT 16;

-- name: all_witnessed
-- Asked by verify.
SELECT size, note FROM ledger.witnessed ORDER BY size;

-- name: store_timestamp
-- Asked once a timestamp was verified.
INSERT INTO ledger.timestamps (size, note, response, stored_at)
VALUES (%(size)s, %(note)s, %(response)s, %(stored_at)s) ON CONFLICT DO NOTHING;

-- name: last_timestamp
-- Asked by the anchor: how far the log is stamped, and since when. Not how far one was that ended.
SELECT size, stored_at FROM ledger.timestamps
WHERE starts_with(note, (SELECT origin FROM ledger.head) || E'\n') ORDER BY size DESC LIMIT 1;

-- name: all_timestamps
-- Asked by verify.
SELECT size, note, response FROM ledger.timestamps ORDER BY size;

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

-- name: misplaced
-- Asked by verify: the first event that is not number 1, 2, 3 … of its stream, and whether it claims the place of another
-- (no index is trusted to have kept them apart) or leaves a gap.
SELECT originator_id, (
    SELECT max(e.notification_id) - 1 FROM ledger.events AS e
    WHERE e.originator_id = numbered.originator_id AND e.originator_version = numbered.originator_version
) AS leaf_index, originator_version < place AS repeated
FROM (
    SELECT originator_id, originator_version,
        row_number() OVER (PARTITION BY originator_id ORDER BY originator_version) AS place
    FROM ledger.events
) AS numbered
WHERE originator_version <> place ORDER BY 2 LIMIT 1;

-- name: scans
-- Asked by verify: in this transaction rows are read from the tables alone, or by an index wherever one leads to them.
SELECT set_config('enable_seqscan', %(table)s, true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_indexscan', %(index)s, true), set_config('enable_indexonlyscan', %(index)s, true);

-- name: indexed_rows
-- Asked by verify, by each index: to how many rows it leads. Each bound is one that every row meets and only one index
-- serves.
SELECT 'events', 'events_pkey', count(*) FROM ledger.events WHERE notification_id >= 1
UNION ALL
SELECT 'events', 'events_stream', count(*) FROM ledger.events WHERE originator_id >= ''
UNION ALL
SELECT 'inbox', 'inbox_pkey', count(*) FROM ledger.inbox WHERE source >= ''
UNION ALL
SELECT 'sealed', 'sealed_pkey', count(*) FROM ledger.sealed WHERE leaf_index >= 0
UNION ALL
SELECT 'sealed', 'sealed_customer', count(*) FROM ledger.sealed WHERE customer_id >= ''
UNION ALL
SELECT 'customer_keys', 'customer_keys_pkey', count(*) FROM ledger.customer_keys WHERE customer_id >= ''
UNION ALL
SELECT 'tiles', 'tiles_pkey', count(*) FROM ledger.tiles WHERE level >= 0
UNION ALL
SELECT 'checkpoints', 'checkpoints_of_a_log', count(*) FROM ledger.checkpoints WHERE size >= 0
UNION ALL
SELECT 'witnessed', 'witnessed_of_a_log', count(*) FROM ledger.witnessed WHERE size >= 0
UNION ALL
SELECT 'timestamps', 'timestamps_of_a_log', count(*) FROM ledger.timestamps WHERE size >= 0;

-- name: stored_rows
-- Asked by verify before anything else, from the tables: how many rows there are; whether one lacks a value, or its place
-- is none that a log has or is counted by; and the first leaf with such a row.
-- num_nulls, because IS NULL is never asked of a column that says it is NOT NULL.
SELECT 'head', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf, num_nulls(log, origin, size, frontier, recorded_at) > 0 AS wrong
    FROM ledger.head
) AS head
UNION ALL
SELECT 'events', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT greatest(notification_id, 0) - 1 AS leaf,
        num_nulls(notification_id, originator_id, originator_version, topic, state, leaf_hash) > 0
        OR notification_id < 1 AS wrong
    FROM ledger.events
) AS events
UNION ALL
SELECT 'inbox', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT leaf_index AS leaf,
        num_nulls(source, command_id, digest, leaf_index, events) > 0
        OR leaf_index NOT BETWEEN 0 AND 1::bigint << 62 AS wrong
    FROM ledger.inbox
) AS inbox
UNION ALL
SELECT 'sealed', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT leaf_index AS leaf,
        num_nulls(leaf_index, customer_id, key_version, ciphertext) > 0 OR leaf_index < 0 AS wrong
    FROM ledger.sealed
) AS sealed
UNION ALL
SELECT 'customer_keys', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf,
        num_nulls(customer_id, key_version, created_at) > 0 OR octet_length(wrapped) = 0 AS wrong
    FROM ledger.customer_keys
) AS customer_keys
UNION ALL
SELECT 'tiles', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf,
        num_nulls(level, index, hashes) > 0 OR level NOT BETWEEN 0 AND 7 OR index < 0 AS wrong
    FROM ledger.tiles
) AS tiles
UNION ALL
SELECT 'checkpoints', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf, num_nulls(size, note, stored_at) > 0 OR size < 0 AS wrong
    FROM ledger.checkpoints
) AS checkpoints
UNION ALL
SELECT 'witnessed', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf, num_nulls(size, note, stored_at) > 0 OR size < 0 AS wrong
    FROM ledger.witnessed
) AS witnessed
UNION ALL
SELECT 'timestamps', count(*), bool_or(wrong), min(leaf) FILTER (WHERE wrong) FROM (
    SELECT NULL::bigint AS leaf, num_nulls(size, note, response, stored_at) > 0 OR size < 0 AS wrong
    FROM ledger.timestamps
) AS timestamps;

-- name: texts
-- Asked by verify where something that is stored as text is none: every text, as bytes.
(SELECT 'head', NULL::bigint, textsend(origin) FROM ledger.head)
UNION ALL
(SELECT 'events', notification_id - 1, textsend(originator_id || chr(10) || topic) FROM ledger.events
 ORDER BY notification_id)
UNION ALL
(SELECT 'inbox', leaf_index, textsend(source || chr(10) || command_id) FROM ledger.inbox ORDER BY leaf_index)
UNION ALL
(SELECT 'sealed', leaf_index, textsend(customer_id) FROM ledger.sealed ORDER BY leaf_index)
UNION ALL
(SELECT 'customer_keys', NULL, textsend(customer_id) FROM ledger.customer_keys)
UNION ALL
(SELECT 'checkpoints', NULL, textsend(note) FROM ledger.checkpoints)
UNION ALL
(SELECT 'witnessed', NULL, textsend(note) FROM ledger.witnessed)
UNION ALL
(SELECT 'timestamps', NULL, textsend(note) FROM ledger.timestamps);

-- name: repeated_rows
-- Asked by verify: rows that no leaf asks for and that are there twice.
SELECT 'customer_keys', customer_id FROM ledger.customer_keys GROUP BY customer_id, key_version HAVING count(*) > 1
UNION ALL
SELECT 'checkpoints', size::text FROM ledger.checkpoints GROUP BY size, split_part(note, chr(10), 1) HAVING count(*) > 1
UNION ALL
SELECT 'witnessed', size::text FROM ledger.witnessed GROUP BY size, split_part(note, chr(10), 1) HAVING count(*) > 1
UNION ALL
SELECT 'timestamps', size::text FROM ledger.timestamps GROUP BY size, split_part(note, chr(10), 1) HAVING count(*) > 1;

-- name: repeated_commands
-- Asked by verify: a command that is in the inbox twice with the same content.
SELECT command_id, source, (
    SELECT max(i.leaf_index) FROM ledger.inbox AS i
    WHERE i.source = repeated.source AND i.command_id = repeated.command_id AND i.digest = repeated.digest
)
FROM (
    SELECT source, command_id, digest FROM ledger.inbox GROUP BY source, command_id, digest HAVING count(*) > 1
) AS repeated
ORDER BY 3 LIMIT 1;

-- name: holds
-- Asked by verify: the holds on customers whose erasure the log orders.
SELECT notification_id - 1 AS leaf_index, originator_id, topic, state FROM ledger.events
WHERE originator_id = ANY(%(streams)s::text[]) ORDER BY notification_id;

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
