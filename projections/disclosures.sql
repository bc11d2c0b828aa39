-- name: tables
-- The fields of ledger.domain.disclosures.Disclosure in their order, then where the row comes from.
CREATE TABLE disclosures (
    disclosure_id     text        NOT NULL PRIMARY KEY,
    customer_id       text        NOT NULL,
    version           integer     NOT NULL,
    owner             text        NOT NULL,
    basis             text        NOT NULL,
    based_on          text[]      NOT NULL,
    made_at           timestamptz NOT NULL,
    about_problem_id  text,
    about_promise_id  text,
    about_concern_id  text,
    corrects          text,
    acknowledged_at   timestamptz,
    falsified_at      timestamptz,
    known_false_since timestamptz,
    corrected_by      text[]      NOT NULL,
    case_id           text,
    made_leaf_index   bigint      NOT NULL,
    leaf_index        bigint      NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE disclosures IS 'One row a disclosure, corrections too.';

CREATE TABLE history (
    LIKE disclosures,
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text        NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (leaf_index)
);
COMMENT ON TABLE history IS 'One row an event of a disclosure, with the disclosure as it stood after it.';

CREATE TABLE tellings (
    disclosure_id  text    NOT NULL PRIMARY KEY,
    made_by        text    NOT NULL,
    channel        text    NOT NULL,
    reason_class   text,
    control        text,
    apology        boolean NOT NULL,
    solution_ref   text,
    next_update_at timestamptz,
    outage_id      text,
    leaf_index     bigint  NOT NULL
);
COMMENT ON TABLE tellings IS 'One row a disclosure: what was said of it when it was made, and never changes.';

CREATE TABLE links (
    basis_id     text        NOT NULL,
    kind         text        NOT NULL,
    dependent_id text        NOT NULL,
    customer_id  text        NOT NULL,
    owner        text        NOT NULL,
    made_at      timestamptz NOT NULL,
    made_by      text        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    leaf_index   bigint      NOT NULL,
    PRIMARY KEY (basis_id, dependent_id, kind)
);
COMMENT ON TABLE links IS 'One row a disclosure or promise that rests on a disclosure, or a correction of it.';

-- name: indexes
-- Asked by "what did we tell this customer".
CREATE INDEX disclosures_customer ON disclosures (customer_id);
-- Asked by "when was this customer told of this problem".
CREATE INDEX disclosures_problem ON disclosures (about_problem_id, customer_id) WHERE about_problem_id IS NOT NULL;
-- Asked as of a past moment.
CREATE INDEX history_disclosure ON history (disclosure_id, leaf_index);
-- Where every search for what is contaminated begins.
CREATE INDEX history_falsified ON history (disclosure_id) WHERE type = 'disclosure.falsified';

-- Asked by "who was told what is so": as small as there are corrections.
CREATE INDEX links_corrections ON links (basis_id) WHERE kind = 'correction';

-- name: views
CREATE OR REPLACE VIEW audit.disclosure_links AS
SELECT basis_id, kind, dependent_id, customer_id, owner, made_at, made_by, recorded_at, leaf_index FROM links;
COMMENT ON VIEW audit.disclosure_links IS
    'What hangs on a disclosure directly: disclosures and promises that rest on it, and its corrections.';
COMMENT ON COLUMN audit.disclosure_links.basis_id IS 'The disclosure that something rests on, or that was corrected.';
COMMENT ON COLUMN audit.disclosure_links.kind IS
    'disclosure or promise: it rests on basis_id. correction: it tells the same customer what is so instead.';
COMMENT ON COLUMN audit.disclosure_links.dependent_id IS 'The disclosure or promise that rests on it, or the correction.';
COMMENT ON COLUMN audit.disclosure_links.customer_id IS 'To whom the dependent was told or promised (a pseudonym).';
COMMENT ON COLUMN audit.disclosure_links.owner IS 'Who answered for the dependent when it was made.';
COMMENT ON COLUMN audit.disclosure_links.made_at IS 'When the dependent was told or promised.';
COMMENT ON COLUMN audit.disclosure_links.made_by IS 'Who told or promised it.';
COMMENT ON COLUMN audit.disclosure_links.recorded_at IS 'When the ledger wrote it down; never decreasing.';
COMMENT ON COLUMN audit.disclosure_links.leaf_index IS 'The event that made the dependent: its index in the log, from 0.';

CREATE OR REPLACE VIEW audit.disclosure_history AS
SELECT
    leaf_index, disclosure_id, version, type, occurred_at, recorded_at, actor, source, customer_id, owner, made_at,
    about_problem_id, about_promise_id, about_concern_id, basis, based_on, corrects, acknowledged_at, falsified_at,
    known_false_since, corrected_by, case_id, made_leaf_index
FROM history;
COMMENT ON VIEW audit.disclosure_history IS 'Every event of every disclosure, with the disclosure as it stood after it.';
COMMENT ON COLUMN audit.disclosure_history.leaf_index IS 'The event: its index in the log, from 0.';
COMMENT ON COLUMN audit.disclosure_history.version IS 'The number of the event among those of its disclosure, from 1.';
COMMENT ON COLUMN audit.disclosure_history.type IS 'What happened: disclosure.made, disclosure.falsified …';

CREATE OR REPLACE FUNCTION audit.falsehoods_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (disclosure_id text, contaminated boolean) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE falsehood (disclosure_id, contaminated) AS (
        SELECT h.disclosure_id, false FROM audit.disclosure_history AS h
        WHERE h.type = 'disclosure.falsified'
          AND h.occurred_at <= coalesce(as_of, 'infinity') AND h.recorded_at <= coalesce(known_at, 'infinity')
        UNION  -- drops what was found already, so that it ends whatever the links are
        SELECT l.dependent_id, true FROM falsehood AS f
        JOIN audit.disclosure_links AS l ON l.basis_id = f.disclosure_id AND l.kind = 'disclosure'
        WHERE l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
    )
    SELECT disclosure_id, bool_or(contaminated) FROM falsehood GROUP BY disclosure_id
$$;
COMMENT ON FUNCTION audit.falsehoods_as_of IS
    'Every disclosure that was falsified or rested, transitively, on a falsified one (contaminated) at as_of, as far as the '
    'ledger knew at known_at; either may be left out.';

CREATE OR REPLACE VIEW audit.disclosures AS
SELECT
    d.disclosure_id, d.customer_id, d.owner, d.made_at, t.made_by, t.channel, said.text,
    d.about_problem_id, d.about_promise_id, d.about_concern_id, t.reason_class, t.control, t.apology, t.solution_ref,
    t.next_update_at, t.outage_id, d.basis, d.based_on,
    ARRAY(
        SELECT l.dependent_id FROM links AS l WHERE l.basis_id = d.disclosure_id AND l.kind = 'promise'
        ORDER BY l.leaf_index
    ) AS promises,
    d.acknowledged_at, d.falsified_at, d.known_false_since,
    d.disclosure_id IN (SELECT f.disclosure_id FROM audit.falsehoods_as_of() AS f WHERE f.contaminated) AS contaminated,
    d.corrects, d.corrected_by, d.case_id, d.version, d.made_leaf_index, d.leaf_index
FROM disclosures AS d
LEFT JOIN tellings AS t ON t.disclosure_id = d.disclosure_id
LEFT JOIN audit.texts AS said ON said.leaf_index = d.made_leaf_index AND said.member = 'text';
COMMENT ON VIEW audit.disclosures IS 'What we told whom about what, on which basis, and what became of it: one row a disclosure, as it stands now.';
COMMENT ON COLUMN audit.disclosures.disclosure_id IS 'The id of the disclosure, for ever.';
COMMENT ON COLUMN audit.disclosures.customer_id IS 'Who was told (a pseudonym).';
COMMENT ON COLUMN audit.disclosures.owner IS 'Who on our side answers for it.';
COMMENT ON COLUMN audit.disclosures.made_at IS 'When the customer was told.';
COMMENT ON COLUMN audit.disclosures.made_by IS 'Who told them: a person, team or service, by id.';
COMMENT ON COLUMN audit.disclosures.channel IS 'How they were told: phone, email, letter …';
COMMENT ON COLUMN audit.disclosures.text IS 'What they were told, in the words used. Empty once the customer was erased.';
COMMENT ON COLUMN audit.disclosures.about_problem_id IS 'The problem that it is about, if it is one.';
COMMENT ON COLUMN audit.disclosures.about_promise_id IS 'The promise that it is about, if it is one.';
COMMENT ON COLUMN audit.disclosures.about_concern_id IS 'The concern that it is about, if it is one.';
COMMENT ON COLUMN audit.disclosures.reason_class IS 'The reason that they were given, as a class.';
COMMENT ON COLUMN audit.disclosures.control IS 'within or beyond our control, as they were told.';
COMMENT ON COLUMN audit.disclosures.apology IS 'It said sorry.';
COMMENT ON COLUMN audit.disclosures.solution_ref IS 'The solution that it named.';
COMMENT ON COLUMN audit.disclosures.next_update_at IS 'By when it promised to be back.';
COMMENT ON COLUMN audit.disclosures.outage_id IS 'The outage that it named.';
COMMENT ON COLUMN audit.disclosures.basis IS 'known, assumed or unknown: what it rested on when it was made.';
COMMENT ON COLUMN audit.disclosures.based_on IS 'The disclosures that it rests on, by id.';
COMMENT ON COLUMN audit.disclosures.promises IS 'The promises that rest on it, by id.';
COMMENT ON COLUMN audit.disclosures.acknowledged_at IS 'When the customer took note of it.';
COMMENT ON COLUMN audit.disclosures.falsified_at IS 'When it was declared untrue.';
COMMENT ON COLUMN audit.disclosures.known_false_since IS 'Since when we have known that it is untrue.';
COMMENT ON COLUMN audit.disclosures.contaminated IS 'It rests, transitively, on a disclosure that was falsified.';
COMMENT ON COLUMN audit.disclosures.corrects IS 'The disclosure that it is a correction of.';
COMMENT ON COLUMN audit.disclosures.corrected_by IS 'The corrections of it, by id, in the order in which they were recorded.';
COMMENT ON COLUMN audit.disclosures.case_id IS 'The case that it belongs to, as first named.';
COMMENT ON COLUMN audit.disclosures.version IS 'How many events it has.';
COMMENT ON COLUMN audit.disclosures.made_leaf_index IS 'The event that made it: its index in the log, from 0.';
COMMENT ON COLUMN audit.disclosures.leaf_index IS 'The event that this row comes from (the last one): its index in the log, from 0.';

CREATE OR REPLACE FUNCTION audit.disclosures_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS SETOF audit.disclosures LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        h.disclosure_id, h.customer_id, h.owner, h.made_at, d.made_by, d.channel, d.text, h.about_problem_id,
        h.about_promise_id, h.about_concern_id, d.reason_class, d.control, d.apology, d.solution_ref, d.next_update_at,
        d.outage_id, h.basis, h.based_on,
        ARRAY(
            SELECT l.dependent_id FROM audit.disclosure_links AS l
            WHERE l.basis_id = h.disclosure_id AND l.kind = 'promise'
              AND l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
            ORDER BY l.leaf_index
        ),
        h.acknowledged_at, h.falsified_at, h.known_false_since,
        h.disclosure_id IN (
            SELECT f.disclosure_id FROM audit.falsehoods_as_of(as_of, known_at) AS f WHERE f.contaminated
        ),
        h.corrects, h.corrected_by, h.case_id, h.version, h.made_leaf_index, h.leaf_index
    FROM audit.disclosures AS d
    CROSS JOIN LATERAL (
        SELECT * FROM audit.disclosure_history AS e
        WHERE e.disclosure_id = d.disclosure_id
          AND e.occurred_at <= coalesce(as_of, 'infinity') AND e.recorded_at <= coalesce(known_at, 'infinity')
        ORDER BY e.leaf_index DESC LIMIT 1
    ) AS h
    WHERE d.customer_id = h.customer_id
$$;
COMMENT ON FUNCTION audit.disclosures_as_of IS
    'What we had told whom at as_of, and what had become of it, as far as the ledger knew at known_at; either may be left out.';

CREATE OR REPLACE FUNCTION audit.corrections_as_of(as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    disclosure_id text, customer_id text, owner text, made_at timestamptz, made_by text, falsified boolean,
    contaminated boolean, corrected_at timestamptz, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE falsehood AS MATERIALIZED (SELECT * FROM audit.falsehoods_as_of(as_of, known_at)),
    correction AS (
        SELECT l.basis_id, l.dependent_id, l.made_at FROM audit.disclosure_links AS l
        WHERE l.kind = 'correction'
          AND l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
    ),
    corrected (disclosure_id, at) AS (  -- by what is true itself, or by a correction that was corrected
        SELECT c.basis_id, c.made_at FROM correction AS c
        WHERE c.dependent_id NOT IN (SELECT f.disclosure_id FROM falsehood AS f)
        UNION
        SELECT c.basis_id, e.at FROM corrected AS e JOIN correction AS c ON c.dependent_id = e.disclosure_id
    )
    SELECT
        d.disclosure_id, d.customer_id, d.owner, d.made_at, d.made_by,
        EXISTS (
            SELECT FROM audit.disclosure_history AS h
            WHERE h.disclosure_id = d.disclosure_id AND h.type = 'disclosure.falsified'
              AND h.occurred_at <= coalesce(as_of, 'infinity') AND h.recorded_at <= coalesce(known_at, 'infinity')
        ),
        f.contaminated, (SELECT min(e.at) FROM corrected AS e WHERE e.disclosure_id = d.disclosure_id), d.made_leaf_index
    FROM falsehood AS f JOIN audit.disclosures AS d ON d.disclosure_id = f.disclosure_id
$$;
COMMENT ON FUNCTION audit.corrections_as_of IS
    'One row a falsehood that somebody was told: each disclosure that was falsified or is contaminated at as_of, as far as '
    'known at known_at. corrected_at is when they were told what is so, and empty as long as they were not.';

CREATE OR REPLACE FUNCTION audit.corrections_attempted_as_of(
    as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL
) RETURNS TABLE (disclosure_id text, attempted_at timestamptz) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE attempted (disclosure_id, at) AS (
        SELECT substr(f.subject, length('disclosure:') + 1), f.closed_at
        FROM audit.finding_history AS f
        JOIN audit.followup_history AS a ON a.leaf_index = f.closed_by AND a.type = 'followup.attempted'
        WHERE f.code = 'correction-owed'
          AND f.closed_at <= coalesce(as_of, 'infinity') AND f.closed_recorded_at <= coalesce(known_at, 'infinity')
          AND NOT EXISTS (  -- found to be false once more: it is owed again
              SELECT FROM audit.finding_history AS l
              WHERE l.code = 'correction-owed' AND l.subject = f.subject AND l.opened_at > f.closed_at
                AND l.opened_at <= coalesce(as_of, 'infinity') AND l.opened_recorded_at <= coalesce(known_at, 'infinity')
          )
        UNION  -- what it was an untrue correction of
        SELECT l.basis_id, a.at FROM attempted AS a
        JOIN audit.disclosure_links AS l ON l.dependent_id = a.disclosure_id AND l.kind = 'correction'
    )
    SELECT a.disclosure_id, min(a.at) FROM attempted AS a GROUP BY a.disclosure_id
$$;
COMMENT ON FUNCTION audit.corrections_attempted_as_of IS
    'The disclosures whose correction is not owed any more, since an attempt to reach the person about it is on record, by '
    'as_of, as far as known at known_at; whether it was delivered as well, audit.corrections_as_of says.';

CREATE OR REPLACE VIEW audit.corrections_owed AS
SELECT disclosure_id, customer_id, owner, made_at, made_by, falsified, contaminated, leaf_index
FROM audit.corrections_as_of()
WHERE corrected_at IS NULL AND disclosure_id NOT IN (SELECT a.disclosure_id FROM audit.corrections_attempted_as_of() AS a);
COMMENT ON VIEW audit.corrections_owed IS
    'Who was told a falsehood, or what rests on one, and was not told yet what is so, nor tried to be reached about it; a '
    'correction that is untrue itself does not count.';
COMMENT ON COLUMN audit.corrections_owed.falsified IS 'It was declared untrue itself.';

-- Those of earlier releases, which could not be asked as of a moment: two of one name would be ambiguous.
DROP FUNCTION IF EXISTS audit.blast_radius(text);
DROP FUNCTION IF EXISTS audit.false_sources(text);

CREATE OR REPLACE FUNCTION audit.false_sources(
    of_disclosure text, as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL
) RETURNS TABLE (disclosure_id text, known_false_since timestamptz) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE source (disclosure_id) AS (
        SELECT of_disclosure
        UNION
        SELECT unnest(d.based_on) FROM source AS s JOIN audit.disclosures AS d ON d.disclosure_id = s.disclosure_id
    )
    SELECT h.disclosure_id, h.known_false_since FROM source AS s
    JOIN audit.disclosure_history AS h ON h.disclosure_id = s.disclosure_id AND h.type = 'disclosure.falsified'
    WHERE h.occurred_at <= coalesce(as_of, 'infinity') AND h.recorded_at <= coalesce(known_at, 'infinity')
$$;
COMMENT ON FUNCTION audit.false_sources IS
    'The disclosure itself, and what it rests on, transitively, as far as falsified: why it is false. By as_of, as far as the '
    'ledger knew at known_at; either may be left out.';

CREATE OR REPLACE FUNCTION audit.blast_radius(
    of_disclosure text, as_of timestamptz DEFAULT NULL, known_at timestamptz DEFAULT NULL
) RETURNS TABLE (
    kind text, id text, customer_id text, owner text, made_at timestamptz, made_by text, repeated boolean,
    correction text, corrected_by text, corrected_at timestamptz, leaf_index bigint
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE known AS MATERIALIZED (
        SELECT coalesce(
            min(f.known_false_since) FILTER (WHERE f.disclosure_id = of_disclosure), min(f.known_false_since)
        ) AS false_since
        FROM audit.false_sources(of_disclosure, as_of, known_at) AS f
    ),
    radius (kind, id, customer_id, owner, made_at, made_by, leaf_index) AS (
        SELECT 'disclosure', d.disclosure_id, d.customer_id, d.owner, d.made_at, d.made_by, d.made_leaf_index
        FROM audit.disclosures AS d
        WHERE d.disclosure_id = of_disclosure AND EXISTS (
            SELECT FROM audit.disclosure_history AS h
            WHERE h.disclosure_id = of_disclosure
              AND h.occurred_at <= coalesce(as_of, 'infinity') AND h.recorded_at <= coalesce(known_at, 'infinity')
        )
        UNION  -- drops what was found already, so that it ends whatever the links are
        SELECT l.kind, l.dependent_id, l.customer_id, l.owner, l.made_at, l.made_by, l.leaf_index
        FROM radius AS r JOIN audit.disclosure_links AS l ON l.basis_id = r.id
        WHERE r.kind = 'disclosure' AND l.kind <> 'correction'
          AND l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
    ),
    correction (of_id, id, at) AS (
        SELECT r.id, l.dependent_id, l.made_at FROM radius AS r
        JOIN audit.disclosure_links AS l ON l.basis_id = r.id AND l.kind = 'correction'
        WHERE r.kind = 'disclosure'
          AND l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
        UNION  -- a correction of a correction
        SELECT c.of_id, l.dependent_id, l.made_at FROM correction AS c
        JOIN audit.disclosure_links AS l ON l.basis_id = c.id AND l.kind = 'correction'
        WHERE l.made_at <= coalesce(as_of, 'infinity') AND l.recorded_at <= coalesce(known_at, 'infinity')
    ),
    delivered AS (  -- a correction that is untrue itself corrects nothing
        SELECT DISTINCT ON (c.of_id) c.of_id, c.id, c.at
        FROM correction AS c JOIN audit.disclosures AS d ON d.disclosure_id = c.id
        WHERE CASE
            WHEN EXISTS (
                SELECT FROM audit.disclosure_history AS h
                WHERE h.disclosure_id = d.disclosure_id AND h.type = 'disclosure.falsified'
                  AND h.occurred_at <= coalesce(as_of, 'infinity') AND h.recorded_at <= coalesce(known_at, 'infinity')
            ) THEN false
            WHEN d.based_on = '{}' THEN true  -- most, and then nobody need look for all falsehoods
            ELSE d.disclosure_id NOT IN (SELECT f.disclosure_id FROM audit.falsehoods_as_of(as_of, known_at) AS f)
        END
        ORDER BY c.of_id, c.at, c.id
    )
    SELECT
        r.kind, r.id, r.customer_id, r.owner, r.made_at, r.made_by,
        r.id <> of_disclosure AND coalesce(r.made_at > k.false_since, false),
        CASE
            WHEN r.kind = 'promise' THEN NULL
            WHEN d.id IS NOT NULL THEN 'delivered'
            WHEN k.false_since IS NULL THEN NULL
            WHEN r.id IN (SELECT a.disclosure_id FROM audit.corrections_attempted_as_of(as_of, known_at) AS a) THEN 'attempted'
            ELSE 'owed'
        END,
        d.id, d.at, r.leaf_index
    FROM radius AS r CROSS JOIN known AS k
    LEFT JOIN delivered AS d ON d.of_id = r.id AND r.kind = 'disclosure'
$$;
COMMENT ON FUNCTION audit.blast_radius IS
    'A disclosure and everything that rests on it, transitively and across customers. repeated: made after it was known to '
    'be false. correction, where it is false: owed, delivered, or attempted (to reach them is on record); empty for '
    'promises, which are findings instead. At as_of, as far as the ledger knew at known_at; either may be left out. In no '
    'order: ORDER BY leaf_index has them as they were recorded.';
