-- name: due
-- Asked by each step: findings whose opening, or whose closing after an announced opening, was not announced yet. Looked
-- at is what changed, or came up, since all was announced; everything, where another version is live.
WITH changed AS (
    SELECT h.*, h.opened_by || '.' || h.number || ':' || h.code || ':' || h.subject AS id
    FROM audit.finding_history AS h
    WHERE h.opened_at <= %(horizon)s AND (
        NOT %(same_version)s OR h.opened_at > %(old_horizon)s OR h.closed_at > %(old_horizon)s
        OR h.opened_by >= %(old_position)s OR h.closed_by >= %(old_position)s
    )
)
SELECT
    f.id, f.code, f.severity, f.subject, f.customer_id, f.case_id, f.opened_at, f.opened_by, f.detail, f.closed_at,
    f.closed_by, opening.id IS NULL AS opens, coalesce(f.closed_at <= %(horizon)s, false) AS closes
FROM changed AS f
LEFT JOIN service.announced AS opening ON opening.id = f.id || ':opened'
LEFT JOIN service.announced AS closing ON closing.id = f.id || ':closed'
WHERE CASE WHEN opening.id IS NULL THEN NOT f.prevented
    ELSE closing.id IS NULL AND coalesce(f.closed_at <= %(horizon)s, false) END
ORDER BY f.opened_at, f.opened_by, f.id LIMIT %(most)s;

-- name: all_announced
-- The end of a step that found less than a batch.
UPDATE service.announcers SET version = %(version)s, position = %(position)s, horizon = %(horizon)s
WHERE name = 'findings';
