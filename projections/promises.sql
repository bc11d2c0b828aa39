-- name: tables
-- The fields of ledger.domain.promise_state.Promise in their order, then where the row comes from.
CREATE TABLE promises (
    promise_id              text        NOT NULL PRIMARY KEY,
    customer_id             text        NOT NULL,
    version                 integer     NOT NULL,
    kind                    text        NOT NULL,
    owner                   text        NOT NULL,
    channel                 text        NOT NULL,
    verification            text        NOT NULL,
    basis                   text        NOT NULL,
    based_on                text[]      NOT NULL,
    offering_id             text,
    for_team                text,
    customer_kind           text        NOT NULL,
    standing                text        NOT NULL,
    fulfilment              text        NOT NULL,
    made_at                 timestamptz NOT NULL,
    due_at                  timestamptz NOT NULL,
    original_due_at         timestamptz NOT NULL,
    condition_by            timestamptz,
    accepted                boolean     NOT NULL,
    pending_owner           text,
    ended_as                text,
    ended_at                timestamptz,
    cycle                   integer     NOT NULL,
    warned_at               timestamptz,
    deadline_warned_percent integer,
    deadline_passed         boolean     NOT NULL,
    latched                 boolean     NOT NULL,
    claimed_at              timestamptz,
    claimed_by              text,
    review_at               timestamptz,
    reschedules             integer     NOT NULL,
    disputes                integer     NOT NULL,
    confirmed_read_back     boolean,
    calendar_id             text,
    calendar_version        integer,
    paused_at               timestamptz,
    overdue_acknowledged_at timestamptz,
    turns                   text[]      NOT NULL,
    turned_at               timestamptz[] NOT NULL,
    turned_due_at           timestamptz[] NOT NULL,
    case_id                 text,
    made_leaf_index         bigint      NOT NULL,
    leaf_index              bigint      NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE promises IS 'One row a promise, ended ones too: a dispute reopens them.';

CREATE TABLE history (
    LIKE promises,
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (leaf_index)
);
COMMENT ON TABLE history IS 'One row an event of a promise, with the promise as it stood after it.';

-- What the timer has still to warn of before the present due time, and whom it is escalated to after that, of the present
-- alone: history has no such columns.
ALTER TABLE promises ADD COLUMN warn_percents integer[] NOT NULL, ADD COLUMN warn_at timestamptz[] NOT NULL,
    ADD COLUMN escalate_to text[] NOT NULL, ADD COLUMN escalate_at timestamptz[] NOT NULL;

-- name: indexes
-- Asked by "what do we still owe this customer": stays as small as what is owed.
CREATE INDEX promises_outstanding ON promises (customer_id) WHERE standing <> 'ended';
-- Asked by the same question as of a past moment, when other promises were outstanding.
CREATE INDEX promises_customer ON promises (customer_id);
CREATE INDEX history_promise ON history (promise_id, leaf_index);
-- Asked by the timer once a second: what is due, or to be warned of, and not announced yet. As small as what is to come.
CREATE INDEX promises_due ON promises (due_at)
    WHERE standing <> 'ended' AND fulfilment = 'none' AND NOT deadline_passed AND paused_at IS NULL;
CREATE INDEX promises_warning ON promises ((warn_at[1])) WHERE warn_at[1] IS NOT NULL;
-- Asked by the relay: whose escalation has begun. As small as what is overdue or may be, under a policy that escalates.
CREATE INDEX promises_escalation ON promises ((escalate_at[1])) WHERE escalate_at[1] IS NOT NULL;
CREATE INDEX promises_condition ON promises (condition_by) WHERE standing = 'conditional';

-- name: views
CREATE OR REPLACE FUNCTION audit.timeliness(
    at timestamptz, standing text, ended_at timestamptz, due_at timestamptz, claimed_at timestamptz, warned_at timestamptz,
    latched boolean
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN claimed_at IS NOT NULL THEN CASE WHEN latched OR claimed_at > due_at THEN 'late' ELSE 'on_time' END
        WHEN latched OR (least(at, ended_at) > due_at AND standing <> 'conditional') THEN 'overdue'
        WHEN warned_at IS NULL THEN 'running'
        ELSE 'warned'
    END
$$;
COMMENT ON FUNCTION audit.timeliness IS
    'The third axis of a promise at a moment: running, warned, overdue, late or on_time. Needs no timer to be right. '
    'standing is conditional also of what ended before its condition was met.';

CREATE OR REPLACE VIEW audit.promises AS
SELECT
    p.promise_id, p.customer_id, p.kind, p.owner, p.due_at, p.standing, p.fulfilment,
    audit.timeliness(
        now(), CASE WHEN p.condition_by IS NULL OR p.turns && ARRAY['activated', 'was_owed'] THEN p.standing ELSE 'conditional' END,
        least(p.ended_at, p.paused_at), p.due_at,
        CASE WHEN p.claimed_at IS NOT NULL THEN least(p.claimed_at, p.paused_at) END, p.warned_at, p.latched
    ) AS timeliness,
    round(extract(epoch FROM p.due_at - now()) / 86400, 2)::float8 AS days_to_due,
    said.text, condition.text AS condition_text,
    p.made_at, p.original_due_at, coalesce(p.claimed_at > p.original_due_at, false) AS late_against_original,
    p.reschedules, p.warned_at, p.cycle, p.disputes, p.claimed_at, p.claimed_by, p.ended_as, p.ended_at,
    p.pending_owner, p.accepted, p.for_team, p.channel, p.verification, p.basis, p.based_on, p.offering_id,
    p.customer_kind, p.condition_by, p.review_at, p.confirmed_read_back, p.deadline_warned_percent, p.deadline_passed,
    p.latched, p.case_id, p.version, p.made_leaf_index, p.leaf_index, p.calendar_id, p.calendar_version, p.paused_at,
    p.overdue_acknowledged_at
FROM promises AS p
LEFT JOIN audit.texts AS said ON said.leaf_index = p.made_leaf_index AND said.member = 'text'
LEFT JOIN audit.texts AS condition ON condition.leaf_index = p.made_leaf_index AND condition.member = 'condition_text';

COMMENT ON VIEW audit.promises IS 'Every promise ever made, ended ones too, as it stands now.';
COMMENT ON COLUMN audit.promises.promise_id IS 'The id of the promise, for ever.';
COMMENT ON COLUMN audit.promises.customer_id IS 'The creditor: the customer to whom something is owed (a pseudonym).';
COMMENT ON COLUMN audit.promises.kind IS 'deliver, answer, callback, fix, refund, update or other.';
COMMENT ON COLUMN audit.promises.owner IS 'The debtor: who on our side answers for it now.';
COMMENT ON COLUMN audit.promises.due_at IS 'When it is due as agreed now.';
COMMENT ON COLUMN audit.promises.standing IS 'First axis: conditional, active, suspended or ended. Outstanding is all but ended.';
COMMENT ON COLUMN audit.promises.fulfilment IS 'Second axis: none, claimed (we say so) or verified (they say so).';
COMMENT ON COLUMN audit.promises.timeliness IS 'Third axis: running, warned, overdue, late (kept too late) or on_time.';
COMMENT ON COLUMN audit.promises.days_to_due IS 'Days until due_at; negative once past.';
COMMENT ON COLUMN audit.promises.text IS 'What was promised, in the words used. Empty once the customer was erased.';
COMMENT ON COLUMN audit.promises.condition_text IS 'What must happen first, in the words used. Empty where unconditional or erased.';
COMMENT ON COLUMN audit.promises.made_at IS 'When it was made.';
COMMENT ON COLUMN audit.promises.original_due_at IS 'When it was due as first promised.';
COMMENT ON COLUMN audit.promises.late_against_original IS 'Claimed kept later than first promised, whatever was agreed since.';
COMMENT ON COLUMN audit.promises.reschedules IS 'How often the due time was moved.';
COMMENT ON COLUMN audit.promises.warned_at IS 'When the customer was first warned that it is at risk.';
COMMENT ON COLUMN audit.promises.cycle IS 'Which attempt this is, from 1: every dispute opens the next.';
COMMENT ON COLUMN audit.promises.disputes IS 'How often the customer said that it was not kept after all.';
COMMENT ON COLUMN audit.promises.claimed_at IS 'When we said that it is kept, in this cycle.';
COMMENT ON COLUMN audit.promises.claimed_by IS 'Who said that it is kept, in this cycle.';
COMMENT ON COLUMN audit.promises.ended_as IS 'How it ended: kept, broken, released, superseded or expired. Empty while outstanding.';
COMMENT ON COLUMN audit.promises.ended_at IS 'When it ended. Empty while outstanding.';
COMMENT ON COLUMN audit.promises.pending_owner IS 'Whom it is being handed over to; the owner answers until they accept.';
COMMENT ON COLUMN audit.promises.accepted IS 'False while it was made for another team that has not accepted it.';
COMMENT ON COLUMN audit.promises.for_team IS 'The other team that it was made for.';
COMMENT ON COLUMN audit.promises.channel IS 'How it was made: phone, email, letter …';
COMMENT ON COLUMN audit.promises.verification IS 'required: only the customer or an observer ends it as kept. not_required: our claim does.';
COMMENT ON COLUMN audit.promises.basis IS 'known or assumed: what it rested on when it was made.';
COMMENT ON COLUMN audit.promises.based_on IS 'The disclosures that it rests on, by id.';
COMMENT ON COLUMN audit.promises.offering_id IS 'The published offering that it was made under.';
COMMENT ON COLUMN audit.promises.customer_kind IS 'external or internal.';
COMMENT ON COLUMN audit.promises.condition_by IS 'By when its condition must be met.';
COMMENT ON COLUMN audit.promises.review_at IS 'When a suspended promise is looked at again.';
COMMENT ON COLUMN audit.promises.confirmed_read_back IS 'What the customer said when it was last read back to them; empty: never read back.';
COMMENT ON COLUMN audit.promises.deadline_warned_percent IS 'The highest share of the time that the timer announced as gone.';
COMMENT ON COLUMN audit.promises.deadline_passed IS 'The timer announced that the present due time has passed. Timeliness does not wait for it.';
COMMENT ON COLUMN audit.promises.latched IS 'A claim or a reschedule found it past due and unkept: nothing clears that.';
COMMENT ON COLUMN audit.promises.case_id IS 'The case that it belongs to, as first named.';
COMMENT ON COLUMN audit.promises.version IS 'How many events it has.';
COMMENT ON COLUMN audit.promises.made_leaf_index IS 'The event that made it: its index in the log, from 0.';
COMMENT ON COLUMN audit.promises.calendar_id IS 'The calendar whose business time it is due in. Empty: due at a moment.';
COMMENT ON COLUMN audit.promises.calendar_version IS 'The version of that calendar that it was made under.';
COMMENT ON COLUMN audit.promises.paused_at IS 'Since when its business time stands still: suspended before it was due.';
COMMENT ON COLUMN audit.promises.overdue_acknowledged_at IS 'When somebody acknowledged that it is overdue, in this cycle and of the present due time.';
COMMENT ON COLUMN audit.promises.leaf_index IS 'The event that this row comes from (the last one): its index in the log, from 0.';

CREATE OR REPLACE VIEW audit.outstanding_promises AS SELECT * FROM audit.promises WHERE standing <> 'ended';
COMMENT ON VIEW audit.outstanding_promises IS 'What we still owe, to whom, and who answers for it: promises that have not ended, as of now.';
GRANT SELECT ON audit.outstanding_promises TO ledger_appender; -- for the timer

CREATE OR REPLACE VIEW audit.promise_warnings AS
SELECT
    promise_id, customer_id, owner, due_at, warn_percents[1] AS next_percent, warn_at[1] AS next_at, warn_percents, warn_at,
    cycle, reschedules, leaf_index
FROM promises WHERE warn_at[1] IS NOT NULL;
COMMENT ON VIEW audit.promise_warnings IS
    'What the timer has still to warn of: promises whose policy names percentages that were not announced yet.';
GRANT SELECT ON audit.promise_warnings TO ledger_appender; -- for the timer
COMMENT ON COLUMN audit.promise_warnings.next_percent IS 'How much of the time is over when the next warning is due.';
COMMENT ON COLUMN audit.promise_warnings.next_at IS 'When the next warning is due; of business time where that was promised.';
COMMENT ON COLUMN audit.promise_warnings.warn_percents IS 'All percentages still to come, of the policy that it was made under.';
COMMENT ON COLUMN audit.promise_warnings.warn_at IS 'When each of them is due, in the same order.';

CREATE OR REPLACE VIEW audit.promise_escalations AS
SELECT promise_id, customer_id, owner, case_id, due_at, escalate_to, escalate_at, cycle, reschedules, leaf_index
FROM promises WHERE escalate_at[1] IS NOT NULL;
COMMENT ON VIEW audit.promise_escalations IS
    'Whom promises are, or will be, announced to as overdue, unless they are kept, ended, moved or acknowledged before.';
GRANT SELECT ON audit.promise_escalations TO ledger_relay;
COMMENT ON COLUMN audit.promise_escalations.escalate_to IS 'Whom, step by step, by the policy that it was made under.';
COMMENT ON COLUMN audit.promise_escalations.escalate_at IS 'When each of them, in the same order.';

CREATE OR REPLACE VIEW audit.promise_history AS
SELECT
    h.leaf_index, h.promise_id, h.version, h.type, h.occurred_at, h.recorded_at, h.actor, h.source, h.standing,
    h.fulfilment,
    audit.timeliness(
        h.occurred_at, CASE WHEN owed.owed THEN h.standing ELSE 'conditional' END, least(h.ended_at, h.paused_at), h.due_at,
        CASE WHEN h.claimed_at IS NOT NULL THEN least(h.claimed_at, h.paused_at) END, h.warned_at, h.latched
    ) AS timeliness,
    h.customer_id, h.kind, h.owner, h.due_at, h.made_at, h.original_due_at,
    coalesce(h.claimed_at > h.original_due_at, false) AS late_against_original,
    h.reschedules, h.warned_at, h.cycle, h.disputes, h.claimed_at, h.claimed_by, h.ended_as, h.ended_at,
    h.pending_owner, h.accepted, h.for_team, h.channel, h.verification, h.basis, h.based_on, h.offering_id,
    h.customer_kind, h.condition_by, h.review_at, h.confirmed_read_back, h.deadline_warned_percent, h.deadline_passed,
    h.latched, h.case_id, h.made_leaf_index,
    (SELECT jsonb_object_agg(t.member, t.text) FROM audit.texts AS t WHERE t.leaf_index = h.leaf_index) AS words,
    h.calendar_id, h.calendar_version, h.paused_at, h.overdue_acknowledged_at,
    CASE WHEN h.type IN ('promise.rescheduled', 'promise.resumed') THEN h.turned_due_at[cardinality(h.turned_due_at)] END
        AS moved_to,
    owed.owed
FROM history AS h
CROSS JOIN LATERAL (SELECT h.condition_by IS NULL OR h.turns && ARRAY['activated', 'was_owed'] AS owed) AS owed;
COMMENT ON VIEW audit.promise_history IS
    'Every event of every promise, with the promise as it stood after it. The state as of two moments is the last row by '
    'leaf_index that had occurred by the one and was recorded by the other.';
COMMENT ON COLUMN audit.promise_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.promise_history.version IS 'The number of the event among those of its promise, from 1.';
COMMENT ON COLUMN audit.promise_history.type IS 'What happened: promise.made, promise.rescheduled …';
COMMENT ON COLUMN audit.promise_history.occurred_at IS 'When it happened, as the source says.';
COMMENT ON COLUMN audit.promise_history.recorded_at IS 'When the ledger wrote it down; never decreasing.';
COMMENT ON COLUMN audit.promise_history.actor IS 'Who acted: a person, team or service, by id.';
COMMENT ON COLUMN audit.promise_history.source IS 'The backend service that reported it.';
COMMENT ON COLUMN audit.promise_history.moved_to IS 'When a reschedule or a resumption says that it is due. due_at is the present one, another where this was recorded late.';
COMMENT ON COLUMN audit.promise_history.owed IS 'It was owed by then: it had no condition, or that had been met.';
COMMENT ON COLUMN audit.promise_history.timeliness IS 'Third axis, as of the moment at which the event occurred.';
COMMENT ON COLUMN audit.promise_history.words IS 'The personal texts of the event by member. Empty where it has none, or once erased.';

CREATE OR REPLACE FUNCTION audit.promises_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS SETOF audit.promises LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.promise_id, h.customer_id, h.kind, h.owner, h.due_at, h.standing, h.fulfilment,
        audit.timeliness(
            coalesce(as_of, known_at, now()), CASE WHEN h.owed THEN h.standing ELSE 'conditional' END, least(h.ended_at, h.paused_at), h.due_at,
            CASE WHEN h.claimed_at IS NOT NULL THEN least(h.claimed_at, h.paused_at) END, h.warned_at, h.latched),
        round(extract(epoch FROM h.due_at - coalesce(as_of, known_at, now())) / 86400, 2)::float8,
        p.text, p.condition_text,
        h.made_at, h.original_due_at, h.late_against_original,
        h.reschedules, h.warned_at, h.cycle, h.disputes, h.claimed_at, h.claimed_by, h.ended_as, h.ended_at,
        h.pending_owner, h.accepted, h.for_team, h.channel, h.verification, h.basis, h.based_on, h.offering_id,
        h.customer_kind, h.condition_by, h.review_at, h.confirmed_read_back, h.deadline_warned_percent, h.deadline_passed,
        h.latched, h.case_id, h.version, h.made_leaf_index, h.leaf_index, h.calendar_id, h.calendar_version, h.paused_at,
        h.overdue_acknowledged_at
    FROM audit.promises AS p
    CROSS JOIN LATERAL (
        SELECT * FROM audit.promise_history AS e
        WHERE e.promise_id = p.promise_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.leaf_index DESC LIMIT 1
    ) AS h
    WHERE p.customer_id = h.customer_id
$$;
COMMENT ON FUNCTION audit.promises_as_of IS
    'Every promise as it stood at as_of, as far as the ledger knew at known_at. Leave out either: known_at alone asks what '
    'the ledger would have answered then.';

CREATE OR REPLACE FUNCTION audit.outstanding_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS SETOF audit.promises LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT * FROM audit.promises_as_of(as_of, known_at) WHERE standing <> 'ended'
$$;
COMMENT ON FUNCTION audit.outstanding_as_of IS 'As audit.promises_as_of, of those that were outstanding then.';
