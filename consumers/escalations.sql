-- name: due
-- Asked by each step: the steps of escalations whose moment has come and that were not announced yet. A round is a cycle
-- and a due time; what ended one (a claim, an acknowledgement …) has emptied the columns of its promise. Whoever moves a
-- due time names one that lies ahead, so a due time that has passed comes back with late news alone: also what was
-- announced when fewer reschedules were on record is of this round.
SELECT
    e.promise_id, e.customer_id, e.owner, e.case_id, e.due_at, s."to", s.at, s.step,
    (extract(epoch FROM s.at - e.due_at) / 3600)::integer AS after_hours, named.ids[e.reschedules + 1] AS id
FROM audit.promise_escalations AS e
CROSS JOIN LATERAL unnest(e.escalate_to, e.escalate_at) WITH ORDINALITY AS s("to", at, step)
CROSS JOIN LATERAL (
    SELECT array_agg(format(
        'escalation:%%s:%%s.%%s:%%s:%%s', e.promise_id, e.cycle, moved,
        (extract(epoch FROM e.due_at) * 1000000)::bigint, s.step
    ) ORDER BY moved) AS ids
    FROM generate_series(0, e.reschedules) AS moved
) AS named
WHERE e.escalate_at[1] <= %(horizon)s AND s.at <= %(horizon)s
  AND NOT EXISTS (SELECT FROM service.announced AS a WHERE a.id = ANY(named.ids))
ORDER BY s.at, e.promise_id, s.step LIMIT %(most)s;
