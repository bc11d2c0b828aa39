-- name: promises
-- Asked by a trial: every event of the promises among the first leaves, promise by promise.
SELECT originator_id, notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE originator_id >= 'promise:' AND originator_id < 'promise;' AND notification_id <= %(stop)s
ORDER BY originator_id, originator_version;

-- name: opened
-- Asked by a trial of its own tables: every finding that had opened by then, prevented ones left out.
SELECT opened_by, code, subject, customer_id, opened_at FROM findings
WHERE opened_at <= %(until)s AND (closed_at IS NULL OR closed_at > opened_at)
ORDER BY opened_by, code COLLATE "C", subject COLLATE "C", customer_id COLLATE "C" NULLS FIRST, opened_at;
