-- name: due
-- Asked by each step: the steps of escalations whose moment has come and that were not announced yet. A round is a cycle
-- and a due time; what ended one (a claim, an acknowledgement …) has emptied the columns of its promise.
SELECT
    e.promise_id, e.customer_id, e.owner, e.case_id, e.due_at, s."to", s.at, s.step,
    (extract(epoch FROM s.at - e.due_at) / 3600)::integer AS after_hours, named.id
FROM audit.promise_escalations AS e
CROSS JOIN LATERAL unnest(e.escalate_to, e.escalate_at) WITH ORDINALITY AS s("to", at, step)
CROSS JOIN LATERAL (
    SELECT format(
        'escalation:%%s:%%s.%%s:%%s:%%s', e.promise_id, e.cycle, e.reschedules,
        (extract(epoch FROM e.due_at) * 1000000)::bigint, s.step
    ) AS id
) AS named
LEFT JOIN service.announced AS a ON a.id = named.id
WHERE e.escalate_at[1] <= %(horizon)s AND s.at <= %(horizon)s AND a.id IS NULL
ORDER BY s.at, e.promise_id, s.step LIMIT %(most)s;
