-- The head is authenticated under a key that is not in the database: whoever appends by hand cannot write it, and what
-- they appended is never signed.
ALTER TABLE ledger.head ADD COLUMN mac bytea CHECK (octet_length(mac) = 32);
COMMENT ON COLUMN ledger.head.mac IS 'HMAC-SHA-256 over size, recorded_at and frontier; empty before the first append.';
