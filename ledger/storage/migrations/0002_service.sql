-- What the running parts say of themselves, for health and metrics. No evidence: it says nothing about customers.

CREATE SCHEMA service;
COMMENT ON SCHEMA service IS 'Operations: heartbeats of the running parts. Overwritten all the time, proves nothing.';

-- One row a part: written each second by the part, read by /health, /metrics and `promise-ledger health`.
CREATE TABLE service.heartbeat (
    part   text        NOT NULL PRIMARY KEY,
    at     timestamptz NOT NULL,
    detail jsonb       NOT NULL
);
COMMENT ON TABLE service.heartbeat IS 'When each part was last seen at work, and what it said.';
