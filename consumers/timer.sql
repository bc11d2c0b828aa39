-- name: due_announcements
-- Asked by the timer once a second: what is to be announced about outstanding promises, the longest due first. The
-- conditions are those of ledger.domain.deadlines; what stands here too early or twice is refused there as moot.
WITH due AS (
    SELECT 'promise.expire_condition' AS announcement, condition_by AS since, promise_id, cycle, reschedules, due_at,
        NULL::integer[] AS warn_percents, NULL::timestamptz[] AS warn_at
    FROM audit.outstanding_promises
    WHERE standing = 'conditional' AND condition_by < %(now)s
    UNION ALL
    SELECT 'promise.announce_deadline', due_at, promise_id, cycle, reschedules, due_at, NULL, NULL
    FROM audit.outstanding_promises
    WHERE standing IN ('active', 'suspended') AND fulfilment = 'none' AND due_at < %(now)s AND NOT deadline_passed
        AND paused_at IS NULL
    UNION ALL
    SELECT 'promise.announce_warning', next_at, promise_id, cycle, reschedules, due_at, warn_percents, warn_at
    FROM audit.promise_warnings
    WHERE next_at < %(now)s AND due_at > %(now)s
)
SELECT announcement, since, promise_id, cycle, reschedules, due_at, warn_percents, warn_at
FROM due ORDER BY since, promise_id LIMIT %(most)s;
