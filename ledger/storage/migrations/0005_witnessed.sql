-- Checkpoints with the cosignatures of witnesses, stored once the quorum of the policy was met: what may be published.
CREATE TABLE ledger.witnessed (
    size      bigint      NOT NULL PRIMARY KEY CHECK (size >= 0),
    note      text        NOT NULL,
    stored_at timestamptz NOT NULL
);
COMMENT ON TABLE ledger.witnessed IS 'Checkpoints that enough witnesses have cosigned (c2sp.org/tlog-cosignature).';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.witnessed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
