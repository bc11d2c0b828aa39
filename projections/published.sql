-- name: published
-- Asked by what reckons with policies: every version of every policy and calendar among the first leaves of the log. Few,
-- and found by their streams alone, however long the log is.
SELECT notification_id - 1 AS leaf_index, topic, state FROM ledger.events
WHERE notification_id <= %(stop)s AND (
    originator_id >= 'policy:' AND originator_id < 'policy;' OR originator_id >= 'calendar:' AND originator_id < 'calendar;'
)
ORDER BY notification_id;
