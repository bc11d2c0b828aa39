-- name: tables
-- The fields of ledger.domain.followups.FollowUp in their order, then where the row comes from.
CREATE TABLE followups (
    followup_id         text        NOT NULL PRIMARY KEY,
    customer_id         text        NOT NULL,
    version             integer     NOT NULL,
    about_promise_id    text,
    about_concern_id    text,
    about_problem_id    text,
    about_disclosure_id text,
    due_at              timestamptz NOT NULL,
    owner               text        NOT NULL,
    attempts            integer     NOT NULL,
    reached_at          timestamptz,
    completed_at        timestamptz,
    outcome             text,
    case_id             text,
    made_leaf_index     bigint      NOT NULL,
    leaf_index          bigint      NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE followups IS 'One row a follow-up, completed ones too.';

CREATE TABLE history (
    LIKE followups,
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (leaf_index)
);
COMMENT ON TABLE history IS 'One row an event of a follow-up, with the follow-up as it stood after it.';

-- name: indexes
-- Asked by "whom do we have to go back to": stays as small as what is owed.
CREATE INDEX followups_owed ON followups (customer_id) WHERE completed_at IS NULL;
-- Asked as of a past moment.
CREATE INDEX followups_customer ON followups (customer_id);
CREATE INDEX history_followup ON history (followup_id, leaf_index);

-- name: views
CREATE OR REPLACE VIEW audit.followups AS
SELECT
    followup_id, customer_id, owner, due_at, completed_at IS NULL AND due_at < now() AS overdue,
    round(extract(epoch FROM due_at - now()) / 86400, 2)::float8 AS days_to_due,
    about_promise_id, about_concern_id, attempts, reached_at, completed_at, outcome, case_id, version, made_leaf_index,
    leaf_index, about_problem_id, about_disclosure_id
FROM followups;
COMMENT ON VIEW audit.followups IS 'Every follow-up ever scheduled, completed ones too, as it stands now.';
COMMENT ON COLUMN audit.followups.followup_id IS 'The id of the follow-up, for ever.';
COMMENT ON COLUMN audit.followups.customer_id IS 'Whom we go back to (a pseudonym).';
COMMENT ON COLUMN audit.followups.owner IS 'Who on our side goes back to them.';
COMMENT ON COLUMN audit.followups.due_at IS 'When it is due.';
COMMENT ON COLUMN audit.followups.overdue IS 'Past due and not completed.';
COMMENT ON COLUMN audit.followups.about_promise_id IS 'The promise that it is about, if it is one.';
COMMENT ON COLUMN audit.followups.about_concern_id IS 'The concern that it is about, if it is one.';
COMMENT ON COLUMN audit.followups.about_problem_id IS 'The problem that it is about, if it is one.';
COMMENT ON COLUMN audit.followups.about_disclosure_id IS 'The disclosure that it is about, if it is one: what has to be corrected.';
COMMENT ON COLUMN audit.followups.attempts IS 'How often somebody tried.';
COMMENT ON COLUMN audit.followups.reached_at IS 'When the customer was first reached.';
COMMENT ON COLUMN audit.followups.completed_at IS 'When it was completed. Empty while it is owed.';
COMMENT ON COLUMN audit.followups.outcome IS 'works, does_not_work or update_given. Empty while it is owed.';
COMMENT ON COLUMN audit.followups.made_leaf_index IS 'The event that scheduled it: its index in the log, from 0.';

CREATE OR REPLACE VIEW audit.followups_due AS SELECT * FROM audit.followups WHERE completed_at IS NULL;
COMMENT ON VIEW audit.followups_due IS 'Whom we still have to go back to, by when, and who does it; overdue ones are marked.';

CREATE OR REPLACE VIEW audit.followup_history AS
SELECT
    leaf_index, followup_id, version, type, occurred_at, recorded_at, actor, source, customer_id, owner, due_at,
    about_promise_id, about_concern_id, attempts, reached_at, completed_at, outcome, case_id, made_leaf_index,
    about_problem_id, about_disclosure_id
FROM history;
COMMENT ON VIEW audit.followup_history IS 'Every event of every follow-up, with the follow-up as it stood after it.';
COMMENT ON COLUMN audit.followup_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.followup_history.version IS 'The number of the event among those of its follow-up, from 1.';
COMMENT ON COLUMN audit.followup_history.type IS 'What happened: followup.scheduled, followup.attempted, followup.completed.';

CREATE OR REPLACE FUNCTION audit.followups_due_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS SETOF audit.followups LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.followup_id, h.customer_id, h.owner, h.due_at, h.due_at < coalesce(as_of, known_at, now()),
        round(extract(epoch FROM h.due_at - coalesce(as_of, known_at, now())) / 86400, 2)::float8,
        h.about_promise_id, h.about_concern_id, h.attempts, h.reached_at, h.completed_at, h.outcome, h.case_id,
        h.version, h.made_leaf_index, h.leaf_index, h.about_problem_id, h.about_disclosure_id
    FROM audit.followups AS f
    CROSS JOIN LATERAL (
        SELECT * FROM audit.followup_history AS e
        WHERE e.followup_id = f.followup_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.leaf_index DESC LIMIT 1
    ) AS h
    WHERE f.customer_id = h.customer_id AND h.completed_at IS NULL
$$;
COMMENT ON FUNCTION audit.followups_due_as_of IS
    'Follow-ups that were owed at as_of, as far as the ledger knew at known_at; either may be left out.';
