-- name: due_announcements
-- Asked by the timer once a second: what is to be announced about outstanding promises, the longest due first. The
-- conditions are those of ledger.domain.deadlines; what stands here too early or twice is refused there as moot.
WITH due AS (
    SELECT 'promise.expire_condition' AS announcement, condition_by AS since, p.*
    FROM audit.outstanding_promises AS p
    WHERE standing = 'conditional' AND condition_by < %(now)s
    UNION ALL
    SELECT 'promise.announce_deadline', due_at, p.*
    FROM audit.outstanding_promises AS p
    WHERE standing IN ('active', 'suspended') AND fulfilment = 'none' AND due_at < %(now)s AND NOT deadline_passed
        AND paused_at IS NULL
    UNION ALL
    SELECT 'promise.announce_warning', made_at + (due_at - made_at) * %(percent)s / 100, p.*
    FROM audit.outstanding_promises AS p
    WHERE standing IN ('active', 'suspended') AND fulfilment = 'none' AND due_at > %(now)s
        AND made_at + (due_at - made_at) * %(percent)s / 100 < %(now)s
        AND coalesce(deadline_warned_percent, 0) < %(percent)s
        AND paused_at IS NULL
)
SELECT announcement, promise_id, cycle, reschedules, made_at, due_at, condition_by
FROM due ORDER BY since, promise_id LIMIT %(most)s;
