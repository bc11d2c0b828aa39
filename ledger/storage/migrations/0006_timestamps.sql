-- Checkpoints stamped by a timestamp authority (RFC 3161): the whole response, and the checkpoint that it is for.
CREATE TABLE ledger.timestamps (
    size      bigint      NOT NULL PRIMARY KEY CHECK (size > 0),
    note      text        NOT NULL,
    response  bytea       NOT NULL CHECK (octet_length(response) <= 65536),
    stored_at timestamptz NOT NULL
);
COMMENT ON TABLE ledger.timestamps IS 'RFC 3161 timestamps: somebody else''s clock says that the log was this long by then.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
