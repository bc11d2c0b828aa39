-- What is no event of its own and yet evidence: the head is moved and never removed; a sealed text is destroyed by an
-- erasure and never altered; a customer's key is destroyed by an erasure and its row stays, to say so.

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON ledger.sealed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.customer_keys
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
