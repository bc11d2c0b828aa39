-- name: tables
CREATE TABLE heard (
    leaf_index  bigint      NOT NULL PRIMARY KEY,
    type        text        NOT NULL,
    about_id    text        NOT NULL,
    customer_id text        NOT NULL,
    actor       text        NOT NULL,
    answer      text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
COMMENT ON TABLE heard IS 'One row an event that the scorecard counts beside promises, problems and disclosures.';

-- name: indexes
-- Asked by "was it the customer who found this problem", and by whose contact a survey was about.
CREATE INDEX heard_about ON heard (about_id, type);
-- Asked by a scorecard: what was answered and declined in its period.
CREATE INDEX heard_when ON heard (type, occurred_at);

-- name: views
CREATE OR REPLACE VIEW audit.customer_signals AS
SELECT leaf_index, type, about_id, customer_id, actor, answer, occurred_at, recorded_at FROM heard;
COMMENT ON VIEW audit.customer_signals IS 'Problems that customers reported, contacts, answers to surveys, and needs that we declined or referred.';
COMMENT ON COLUMN audit.customer_signals.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.customer_signals.type IS 'problem.reported, contact.recorded, survey.answered, need.declined or need.referred.';
COMMENT ON COLUMN audit.customer_signals.about_id IS 'The problem, contact or need that it is about.';
COMMENT ON COLUMN audit.customer_signals.customer_id IS 'The customer (a pseudonym).';
COMMENT ON COLUMN audit.customer_signals.actor IS 'Who acted: a person, team or service, by id.';
COMMENT ON COLUMN audit.customer_signals.answer IS 'yes or no, to a survey.';
COMMENT ON COLUMN audit.customer_signals.occurred_at IS 'When it happened, as the source says.';
COMMENT ON COLUMN audit.customer_signals.recorded_at IS 'When the ledger wrote it down; never decreasing.';

-- That of earlier releases, which could not be asked as far as known: two of one name would be ambiguous.
DROP FUNCTION IF EXISTS audit.scorecard(timestamptz, timestamptz, text);

CREATE OR REPLACE FUNCTION audit.scorecard(
    from_at timestamptz DEFAULT NULL, to_at timestamptz DEFAULT NULL, grouped_by text DEFAULT NULL,
    known_at timestamptz DEFAULT NULL
) RETURNS TABLE (
    group_id text, measure text, value float8, unit text, counted bigint, out_of bigint, small boolean
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH period AS MATERIALIZED (
        SELECT coalesce(from_at, '-infinity') AS first, coalesce(to_at, known_at, now()) AS stop
        WHERE CASE
            WHEN grouped_by IS NULL OR grouped_by IN ('owner', 'kind', 'customer') THEN true
            -- The sentence is no boolean: so PostgreSQL says it, and a mistyped name is not taken for no promises.
            ELSE ('audit.scorecard is by owner, kind or customer, not by ' || grouped_by)::boolean
        END
    ),
    promised AS MATERIALIZED (  -- those first due in the period, as they stood at its end
        SELECT
            CASE grouped_by WHEN 'owner' THEN p.owner WHEN 'kind' THEN p.kind WHEN 'customer' THEN p.customer_id ELSE '' END AS g,
            CASE
                WHEN p.ended_as IN ('kept', 'broken') THEN p.ended_as
                WHEN p.condition_by IS NOT NULL AND NOT EXISTS (
                    SELECT FROM audit.promise_history AS h
                    WHERE h.promise_id = p.promise_id AND h.type = 'promise.activated' AND h.occurred_at < i.stop
                      AND h.recorded_at <= coalesce(known_at, 'infinity')
                ) THEN 'not owed'  -- its condition was not met, whatever became of it since
                WHEN p.ended_as = 'released' AND p.timeliness NOT IN ('overdue', 'late') THEN 'released'
                WHEN p.standing <> 'ended' AND p.fulfilment = 'claimed' AND p.claimed_at < i.stop THEN 'claimed'
                ELSE 'not kept'  -- past due, moved, replaced, or given up by the customer after it was due
            END AS outcome,
            p.fulfilment = 'verified' AS verified,
            p.timeliness = 'on_time' AS on_time,
            p.claimed_at <= p.original_due_at AS as_first_promised,
            extract(epoch FROM p.original_due_at - p.made_at) / 86400 AS promised_days,
            extract(epoch FROM p.claimed_at - p.made_at) / 86400 AS actual_days,
            (
                SELECT extract(epoch FROM coalesce(before.moved_to, p.original_due_at) - h.occurred_at) / 86400
                FROM audit.promise_history AS h
                LEFT JOIN LATERAL (  -- when it was due then, though that may be recorded later
                    SELECT m.moved_to FROM audit.promise_history AS m
                    WHERE m.promise_id = h.promise_id AND m.moved_to IS NOT NULL
                      AND (m.occurred_at, m.leaf_index) < (h.occurred_at, h.leaf_index)
                      AND m.recorded_at <= coalesce(known_at, 'infinity')
                    ORDER BY m.occurred_at DESC, m.leaf_index DESC LIMIT 1
                ) AS before ON true
                WHERE h.promise_id = p.promise_id AND h.type = 'promise.at_risk' AND h.occurred_at = p.warned_at
                  AND h.occurred_at < i.stop
                ORDER BY h.leaf_index LIMIT 1
            ) AS notice_days
        FROM audit.promises_as_of(coalesce(to_at, known_at, now()) - interval '1 microsecond', known_at) AS p
        CROSS JOIN period AS i
        WHERE p.original_due_at >= i.first AND p.original_due_at < i.stop
    ),
    owed AS (SELECT * FROM promised WHERE outcome NOT IN ('not owed', 'released')),
    affected AS MATERIALIZED (
        SELECT
            CASE grouped_by WHEN 'owner' THEN a.owner WHEN 'customer' THEN a.customer_id ELSE '' END AS g,
            a.problem_id, a.customer_id, a.known_since, CASE WHEN a.told_at < i.stop THEN a.told_at END AS told_at
        FROM audit.affected_customers_as_of(NULL, known_at) AS a CROSS JOIN period AS i
        WHERE a.affected_at >= i.first AND a.affected_at < i.stop
    ),
    waited AS (  -- a customer who was told before we knew that it touches them waited for nothing
        SELECT
            g, CASE WHEN told_at IS NOT NULL THEN greatest(extract(epoch FROM told_at - known_since), 0) / 86400 END AS days
        FROM affected
    ),
    found AS (
        SELECT DISTINCT
            CASE grouped_by WHEN 'owner' THEN p.owner WHEN 'customer' THEN a.customer_id ELSE '' END AS g,
            p.problem_id,
            p.detected_by = 'us' AND NOT EXISTS (
                SELECT FROM audit.customer_signals AS s
                LEFT JOIN audit.affected_customers_as_of(NULL, known_at) AS t
                    ON t.problem_id = s.about_id AND t.customer_id = s.customer_id
                WHERE s.about_id = p.problem_id AND s.type = 'problem.reported' AND s.occurred_at < i.stop
                  AND s.occurred_at < coalesce(t.told_at, 'infinity') AND s.recorded_at <= coalesce(known_at, 'infinity')
            ) AS by_us
        FROM audit.problem_detections AS p CROSS JOIN period AS i
        LEFT JOIN audit.affected_customers_as_of(NULL, known_at) AS a
            ON grouped_by = 'customer' AND a.problem_id = p.problem_id AND a.affected_at < i.stop
        WHERE p.detected_at >= i.first AND p.detected_at < i.stop AND p.recorded_at <= coalesce(known_at, 'infinity')
    ),
    untrue AS (
        SELECT
            CASE grouped_by WHEN 'owner' THEN c.owner WHEN 'customer' THEN c.customer_id ELSE '' END AS g,
            c.corrected_at IS NULL AND c.disclosure_id NOT IN (
                SELECT a.disclosure_id
                FROM audit.corrections_attempted_as_of(
                    coalesce(to_at, known_at, now()) - interval '1 microsecond', known_at
                ) AS a
            ) AS owed
        FROM audit.corrections_as_of(coalesce(to_at, known_at, now()) - interval '1 microsecond', known_at) AS c
    ),
    signal AS (
        SELECT
            CASE grouped_by
                WHEN 'owner' THEN CASE s.type
                    WHEN 'survey.answered' THEN (
                        SELECT c.actor FROM audit.customer_signals AS c
                        WHERE c.about_id = s.about_id AND c.type = 'contact.recorded'
                    )
                    ELSE s.actor
                END
                WHEN 'customer' THEN s.customer_id
                ELSE ''
            END AS g,
            s.type, s.answer
        FROM audit.customer_signals AS s CROSS JOIN period AS i
        WHERE s.type IN ('survey.answered', 'need.declined', 'need.referred')
          AND s.occurred_at >= i.first AND s.occurred_at < i.stop AND s.recorded_at <= coalesce(known_at, 'infinity')
    ),
    ratio (g, measure, counted, out_of) AS (
        SELECT g, 'kept', count(*) FILTER (WHERE outcome = 'kept'), count(*) FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'not_yet_verified', count(*) FILTER (WHERE outcome = 'claimed'), count(*) FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'kept_by_our_word', count(*) FILTER (WHERE NOT verified), count(*)
        FROM owed WHERE outcome = 'kept' GROUP BY g
        UNION ALL
        SELECT g, 'on_time', count(*) FILTER (WHERE outcome = 'kept' AND on_time), count(*) FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'on_time_as_first_promised', count(*) FILTER (WHERE outcome = 'kept' AND on_time AND as_first_promised),
            count(*)
        FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'found_by_us_first', count(*) FILTER (WHERE by_us), count(*) FROM found GROUP BY g
        UNION ALL
        SELECT g, 'corrections_outstanding', count(*) FILTER (WHERE owed), count(*) FROM untrue GROUP BY g
        UNION ALL
        SELECT g, 'would_hire', count(*) FILTER (WHERE answer = 'yes'), count(*)
        FROM signal WHERE type = 'survey.answered' GROUP BY g
        UNION ALL
        SELECT g, 'declined_with_referral', count(*) FILTER (WHERE type = 'need.referred'),
            count(*) FILTER (WHERE type = 'need.declined')
        FROM signal WHERE type <> 'survey.answered' GROUP BY g
    ),
    median (g, measure, value, counted, out_of) AS (
        SELECT g, 'notice_p50', percentile_disc(0.5) WITHIN GROUP (ORDER BY notice_days), count(notice_days), count(*)
        FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'promised_time_p50', percentile_disc(0.5) WITHIN GROUP (ORDER BY promised_days)
                FILTER (WHERE outcome = 'kept'), count(*) FILTER (WHERE outcome = 'kept'), count(*)
        FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'actual_time_p50', percentile_disc(0.5) WITHIN GROUP (ORDER BY actual_days)
                FILTER (WHERE outcome = 'kept'), count(*) FILTER (WHERE outcome = 'kept'), count(*)
        FROM owed GROUP BY g
        UNION ALL
        SELECT g, 'detect_to_disclose_p50', percentile_disc(0.5) WITHIN GROUP (ORDER BY days), count(days), count(*)
        FROM waited GROUP BY g
        UNION ALL
        SELECT g, 'detect_to_disclose_p95', percentile_disc(0.95) WITHIN GROUP (ORDER BY days), count(days), count(*)
        FROM waited GROUP BY g
    ),
    result (g, measure, value, unit, counted, out_of, behind) AS (
        SELECT g, measure, counted::float8 / nullif(out_of, 0), 'share', counted, out_of, out_of FROM ratio
        UNION ALL
        SELECT g, measure, value::float8, 'days', counted, out_of, counted FROM median
    ),
    listed (place, measure, unit) AS (
        VALUES
            (1, 'kept', 'share'), (2, 'not_yet_verified', 'share'), (3, 'kept_by_our_word', 'share'),
            (4, 'on_time', 'share'), (5, 'on_time_as_first_promised', 'share'), (6, 'notice_p50', 'days'),
            (7, 'promised_time_p50', 'days'), (8, 'actual_time_p50', 'days'), (9, 'detect_to_disclose_p50', 'days'),
            (10, 'detect_to_disclose_p95', 'days'), (11, 'found_by_us_first', 'share'),
            (12, 'corrections_outstanding', 'share'), (13, 'would_hire', 'share'), (14, 'declined_with_referral', 'share')
    ),
    asked (g) AS (SELECT g FROM result UNION SELECT '' WHERE grouped_by IS NULL)
    SELECT
        nullif(a.g, ''), l.measure, r.value, l.unit, coalesce(r.counted, 0), coalesce(r.out_of, 0),
        coalesce(r.behind, 0) < 10
    FROM asked AS a CROSS JOIN listed AS l
    LEFT JOIN result AS r ON r.g = a.g AND r.measure = l.measure
    WHERE (grouped_by IS NULL OR a.g <> '') AND (grouped_by IS DISTINCT FROM 'kind' OR l.place <= 8)
    ORDER BY a.g, l.place
$$;
COMMENT ON FUNCTION audit.scorecard IS
    'How candid we were from from_at up to, not including, to_at, as of its end, as far as the ledger knew at known_at, in '
    'all or grouped_by owner, kind or customer. Without to_at it ends at known_at, or now. value is counted / out_of for a share; for days it comes from counted of out_of. small: fewer than 10.';

CREATE OR REPLACE FUNCTION audit.delivery_times_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    kind text, owner text, kept bigint, promised_days_p50 float8, actual_days_p50 float8, promised_days_p90 float8,
    actual_days_p90 float8, later_than_promised bigint, small boolean
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH delivered AS (
        SELECT
            p.kind, p.owner, p.late_against_original,
            extract(epoch FROM p.original_due_at - p.made_at)::float8 / 86400 AS promised,
            extract(epoch FROM p.claimed_at - p.made_at)::float8 / 86400 AS actual
        FROM audit.promises_as_of(as_of, known_at) AS p WHERE p.ended_as = 'kept'
    )
    SELECT
        d.kind, d.owner, count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY d.promised),
        percentile_disc(0.5) WITHIN GROUP (ORDER BY d.actual), percentile_disc(0.9) WITHIN GROUP (ORDER BY d.promised),
        percentile_disc(0.9) WITHIN GROUP (ORDER BY d.actual), count(*) FILTER (WHERE d.late_against_original),
        count(*) < 10
    FROM delivered AS d GROUP BY CUBE (d.kind, d.owner)
$$;
COMMENT ON FUNCTION audit.delivery_times_as_of IS
    'As audit.delivery_times, of the promises that had ended as kept at as_of, as far as the ledger knew at known_at.';

CREATE OR REPLACE VIEW audit.delivery_times AS SELECT * FROM audit.delivery_times_as_of();
COMMENT ON VIEW audit.delivery_times IS
    'Promised against actual time of kept promises: for each kind and owner, each kind, each owner, and all together. '
    'Quantiles are values that really occurred.';
COMMENT ON COLUMN audit.delivery_times.kind IS 'deliver, answer, callback, fix, refund, update or other; empty: all kinds.';
COMMENT ON COLUMN audit.delivery_times.owner IS 'Who answered for them at the end; empty: everybody.';
COMMENT ON COLUMN audit.delivery_times.kept IS 'How many ended as kept: what the other columns are taken from.';
COMMENT ON COLUMN audit.delivery_times.promised_days_p50 IS 'Days from making the promise to its first due time, median.';
COMMENT ON COLUMN audit.delivery_times.actual_days_p50 IS 'Days from making the promise to the claim that it is kept, median.';
COMMENT ON COLUMN audit.delivery_times.promised_days_p90 IS 'The same days promised, which nine of ten do not exceed.';
COMMENT ON COLUMN audit.delivery_times.actual_days_p90 IS 'The same days that it took, which nine of ten do not exceed.';
COMMENT ON COLUMN audit.delivery_times.later_than_promised IS 'How many were claimed kept later than first promised, whatever was agreed since.';
COMMENT ON COLUMN audit.delivery_times.small IS 'Fewer than 10: no conclusion rests on them.';
