-- Who may do what in the database, applied by every `migrate`: a state, not a history. A new table is open to nobody but
-- its owner until it stands here. A service's role logs in once an operator gives it a password; auditors log in as
-- themselves, as members of theirs.
--
-- ledger_appender   runs `serve intake`: adds to the log, changes and removes nothing of it
-- ledger_projector  runs `serve projections`: reads the log, writes the read tables
-- ledger_relay      runs `serve relay`: reads the log and what may be announced, no text and no key
-- ledger_eraser     destroys the keys and texts of an erased customer, and nothing else
-- ledger_auditor    reads the views of schema audit

DO $$
DECLARE statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY[
        'CREATE ROLE ledger_appender LOGIN', 'CREATE ROLE ledger_projector LOGIN', 'CREATE ROLE ledger_eraser LOGIN',
        'CREATE ROLE ledger_relay LOGIN',
        'CREATE ROLE ledger_auditor NOLOGIN'
    ] LOOP  -- an owner who may not make roles needs them to be there
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(statement, ' ', 3));
        BEGIN
            EXECUTE statement;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- made by a neighbour just now
        END;
    END LOOP;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA ledger, service FROM ledger_appender, ledger_projector, ledger_relay, ledger_eraser,
    ledger_auditor;
GRANT USAGE ON SCHEMA ledger, service TO ledger_appender, ledger_projector, ledger_relay, ledger_eraser;

GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO ledger_appender, ledger_projector, ledger_eraser;
GRANT INSERT ON ledger.events, ledger.inbox, ledger.sealed, ledger.customer_keys, ledger.tiles, ledger.checkpoints,
    ledger.witnessed, ledger.timestamps TO ledger_appender;
GRANT UPDATE (size, frontier, recorded_at, mac) ON ledger.head TO ledger_appender;

GRANT DELETE ON ledger.sealed TO ledger_eraser;
GRANT UPDATE (wrapped, destroyed_at) ON ledger.customer_keys TO ledger_eraser;
DO $$ BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN  -- before, only an owner may vacuum
        GRANT MAINTAIN ON ledger.customer_keys, ledger.sealed TO ledger_eraser;
    END IF;
END $$;

GRANT SELECT ON ledger.head, ledger.events TO ledger_relay;
GRANT SELECT, UPDATE (position, version, horizon) ON service.announcers TO ledger_relay;
GRANT SELECT, INSERT ON service.announced TO ledger_relay;

GRANT SELECT ON service.heartbeat TO ledger_appender, ledger_projector, ledger_relay, ledger_eraser;
GRANT INSERT, UPDATE ON service.heartbeat TO ledger_appender, ledger_projector, ledger_relay, ledger_eraser;
